"""Reading frames from RabbitMQ.

Ours, because py-amqp's reader makes nine system calls for a message, and waits for its
socket alone: this one reads all that has arrived in one call, and a `Waker` ends its wait.
"""

from __future__ import annotations

import errno
import select
import ssl
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from amqp.exceptions import UnexpectedFrame
from amqp.transport import SSLTransport, TCPTransport
from kombu.transport import pyamqp

from consumers.broker.waker import Waker

#: Bytes to ask for at a time.
_CHUNK = 1 << 18

#: A frame is its type, channel and size, then the payload, then a fixed last byte (AMQP
#: 0-9-1, "General Frame Format").
_HEADER = struct.Struct(">BHI")
_END = 0xCE

#: The system's codes for a socket from which nothing came in time.
_NOTHING_CAME = (errno.EAGAIN, errno.EWOULDBLOCK)

Frame = tuple[int, int, bytes]


class _Reading:
    """Buffers received bytes and splits them into frames.

    Mixed into py-amqp's transports, which define the members that are only declared here.
    """

    having_timeout: Callable[[float], AbstractContextManager[object]]
    sock: Any
    connected: bool
    _quick_recv: Callable[[int], bytes]
    _arrived = b""
    _at = 0

    def read_frame(self) -> Frame:
        """Read the next frame, within the socket's own timeout.

        Raises:
            TimeoutError: It did not come in time; its first bytes are kept.
            OSError: The connection broke.
            UnexpectedFrame: The bytes are not a frame.
        """
        while (frame := self.arrived_frame()) is None:
            self._receive()
        return frame

    def arrived_frame(self) -> Frame | None:
        """Take the next frame from the buffer; None while it is incomplete."""
        begin = self._at + _HEADER.size
        if begin > len(self._arrived):
            return None
        kind, channel, size = _HEADER.unpack_from(self._arrived, self._at)
        end = begin + size
        if end >= len(self._arrived):
            return None
        if self._arrived[end] != _END:
            raise UnexpectedFrame(f"a frame ends in {self._arrived[end]:#04x}")
        self._at = end + 1
        return kind, channel, self._arrived[begin:end]

    def receive_arrived(self, timeout: float, waker: Waker | None) -> None:
        """Receive once, waiting up to ``timeout`` seconds, or until woken."""
        if not self._is_ready(timeout, waker):
            return
        # By TLS, the bytes may be a part of a record that is only deciphered as a whole.
        with suppress(TimeoutError), self.having_timeout(0):
            self._receive()

    def _is_ready(self, timeout: float, waker: Waker | None) -> bool:
        sock = self.sock
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        if waker is not None:
            poll.register(waker, select.POLLIN)
        return any(which == sock.fileno() for which, _ in poll.poll(timeout * 1000))

    def _receive(self) -> None:
        try:
            chunk = self._quick_recv(_CHUNK)
        except TimeoutError:
            raise
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
            raise TimeoutError(str(exc)) from exc
        except OSError as exc:
            if exc.errno in _NOTHING_CAME:
                raise TimeoutError(str(exc)) from exc
            self.connected = False
            raise
        if not chunk:
            self.connected = False
            raise OSError("Server unexpectedly closed connection")
        self._arrived = self._arrived[self._at :] + chunk
        self._at = 0


class _Tcp(_Reading, TCPTransport):  # type: ignore[misc]
    pass


class _Tls(_Reading, SSLTransport):  # type: ignore[misc]
    pass


class FrameConnection(pyamqp.Connection):  # type: ignore[misc]
    """kombu's connection over these transports."""

    def Transport(  # noqa: N802
        self, host: str, connect_timeout: float | None, ssl: Any, *timeouts: Any, **settings: Any
    ) -> Any:
        """Make the transport; ``timeouts`` are those to wait for an answer, and to send."""
        read_timeout, write_timeout = timeouts
        return (_Tls if ssl else _Tcp)(
            host,
            connect_timeout=connect_timeout,
            ssl=ssl,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            **settings,
        )

    def handle_arrived(self, timeout: float, waker: Waker | None) -> None:
        """Handle all frames that arrive, waiting up to ``timeout`` seconds, or until woken.

        Raises:
            OSError: The connection broke.
            AMQPError: RabbitMQ ended it, or a channel.
        """
        transport = self.transport
        frame = transport.arrived_frame()
        if frame is None:
            transport.receive_arrived(timeout, waker)
            frame = transport.arrived_frame()
        while frame is not None:
            self.on_inbound_frame(frame)
            frame = transport.arrived_frame()
