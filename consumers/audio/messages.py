"""The only link between a child and its parent: JSON objects over a socket pair.

The sockets are of type SOCK_SEQPACKET, so each message is one packet and needs no framing.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence

_MESSAGE_BYTES = 1 << 16


class PeerGoneError(Exception):
    """The process at the other end has closed it, or ended."""


class MessageSocket:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def __enter__(self) -> MessageSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close this end; the peer reads the end of the stream."""
        self._end.close()

    def send(self, message: Mapping[str, object], files: Sequence[int] = ()) -> None:
        """Send one message, with copies of open file descriptors.

        Raises:
            PeerGoneError: The peer has closed its end.
        """
        try:
            socket.send_fds(self._end, [json.dumps(message).encode()], files)
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise PeerGoneError from exc

    def receive(self, *, timeout: float | None = None) -> dict[str, object]:
        """Wait for one message, up to ``timeout`` seconds; descriptors with it are dropped.

        Raises:
            PeerGoneError: The peer has closed its end.
            TimeoutError: No message arrived in time.
            ValueError: The message is not a JSON object.
        """
        self._end.settimeout(timeout)
        try:
            packet = self._end.recv(_MESSAGE_BYTES)
        except ConnectionResetError as exc:
            raise PeerGoneError from exc
        return _parsed(packet)

    def receive_with_files(self, count: int) -> tuple[dict[str, object], list[int]]:
        """Wait for one message and up to ``count`` descriptors, which the caller closes.

        Raises:
            PeerGoneError: The peer has closed its end.
            ValueError: The message is not a JSON object.
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
