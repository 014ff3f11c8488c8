"""Reading frames from RabbitMQ: all that has arrived at once, and woken by more than the socket.

py-amqp asks the system for each part of each frame, nine times for a message, and can
wait for nothing else meanwhile.
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

#: Type, channel and size; the payload; and one byte that is always the same (AMQP 0-9-1,
#: "General Frame Format").
_HEADER = struct.Struct(">BHI")
_END = 0xCE

#: What the system, and OpenSSL, say of a socket from which nothing came in time.
_NOTHING_CAME = (errno.EAGAIN, errno.EWOULDBLOCK)

Frame = tuple[int, int, bytes]


class _Reading:
    """A transport of py-amqp's that keeps what arrived, and gives it frame by frame.

    Mixed into py-amqp's own, which has what is only declared here.
    """

    having_timeout: Callable[[float], AbstractContextManager[object]]
    sock: Any
    connected: bool
    _quick_recv: Callable[[int], bytes]
    _arrived = b""
    _at = 0

    def read_frame(self) -> Frame:
        """Give the next frame; waits for it as long as the socket does.

        Raises:
            TimeoutError: It did not come in time; what has come of it is kept.
            OSError: The connection broke.
            UnexpectedFrame: What came is no frame.
        """
        while (frame := self.arrived_frame()) is None:
            self._receive()
        return frame

    def arrived_frame(self) -> Frame | None:
        """Give the next frame if all of it has been received.

        Raises:
            UnexpectedFrame: What came is no frame.
        """
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

    def receive_what_came(self, timeout: float, waker: Waker | None) -> None:
        """Receive once; waits until there is something, it is woken, or so many seconds.

        Raises:
            OSError: The connection broke.
        """
        if not self._is_ready(timeout, waker):
            return
        # What came by TLS can be the part of something that is deciphered as a whole.
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
            came = self._quick_recv(_CHUNK)
        except TimeoutError:
            raise
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
            raise TimeoutError(str(exc)) from exc
        except OSError as exc:
            if exc.errno in _NOTHING_CAME:
                raise TimeoutError(str(exc)) from exc
            self.connected = False
            raise
        if not came:
            self.connected = False
            raise OSError("Server unexpectedly closed connection")
        self._arrived = self._arrived[self._at :] + came
        self._at = 0


class _Tcp(_Reading, TCPTransport):  # type: ignore[misc]
    """Without TLS."""


class _Tls(_Reading, SSLTransport):  # type: ignore[misc]
    """With TLS."""


class FrameConnection(pyamqp.Connection):  # type: ignore[misc]
    """kombu's connection over such a transport."""

    def Transport(  # noqa: N802
        self, host: str, connect_timeout: float | None, ssl: Any, *timeouts: Any, **settings: Any
    ) -> Any:
        """Make the transport.

        Args:
            host: And port.
            connect_timeout: Seconds.
            ssl: By what TLS is to be spoken; nothing for none.
            timeouts: Seconds to wait for an answer, and to send.
            settings: The socket's.
        """
        kind = _Tls if ssl else _Tcp
        read_timeout, write_timeout = timeouts
        return kind(
            host,
            connect_timeout=connect_timeout,
            ssl=ssl,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            **settings,
        )

    def handle_arrived(self, timeout: float, waker: Waker | None) -> None:
        """Handle all that has arrived; waits for it until woken, or so many seconds.

        Raises:
            OSError: The connection broke.
            AMQPError: RabbitMQ ended it, or a channel.
        """
        transport = self.transport
        frame = transport.arrived_frame()
        if frame is None:
            transport.receive_what_came(timeout, waker)
            frame = transport.arrived_frame()
        while frame is not None:
            self.on_inbound_frame(frame)
            frame = transport.arrived_frame()
