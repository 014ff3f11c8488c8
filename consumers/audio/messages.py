"""The only way between a child and its parent: JSON objects over a socket pair.

The sockets are of type SOCK_SEQPACKET, so one message is one packet and neither
side has to find where the other's message ends.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType

_MESSAGE_BYTES = 1 << 16


class PeerGoneError(Exception):
    """The other side is gone."""


class MessageSocket:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def __enter__(self) -> MessageSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close this end; the other reads the end of the channel."""
        self._end.close()

    def send(self, message: Mapping[str, object], files: Sequence[int] = ()) -> None:
        """Send one message, and copies of open file descriptors with it.

        Raises:
            PeerGoneError: The other side is gone.
        """
        try:
            socket.send_fds(self._end, [json.dumps(message).encode()], files)
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise PeerGoneError from exc

    def receive(self, *, timeout: float | None = None) -> dict[str, object]:
        """Wait for one message; descriptors that come with it are not taken.

        Args:
            timeout: Seconds to wait; forever if None.

        Raises:
            PeerGoneError: The other side is gone.
            TimeoutError: Nothing came in time.
            ValueError: What came is not a JSON object.
        """
        self._end.settimeout(timeout)
        try:
            packet = self._end.recv(_MESSAGE_BYTES)
        except ConnectionResetError as exc:
            raise PeerGoneError from exc
        return _parsed(packet)

    def receive_with_files(self, count: int) -> tuple[dict[str, object], list[int]]:
        """Wait for one message and up to ``count`` descriptors, which are the caller's to close.

        Raises:
            PeerGoneError: The other side is gone.
            ValueError: What came is not a JSON object.
        """
        try:
            packet, files, _, _ = socket.recv_fds(self._end, _MESSAGE_BYTES, count)
        except ConnectionResetError as exc:
            raise PeerGoneError from exc
        return _parsed(packet), files


def _parsed(packet: bytes) -> dict[str, object]:
    if not packet:
        raise PeerGoneError
    try:
        message = json.loads(packet)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if not isinstance(message, dict):
        raise ValueError(f"a JSON object was expected: {packet!r:.80}")  # noqa: TRY004
    return message
