"""Frames arrive whole, in pieces, many at once, or damaged."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from amqp.exceptions import UnexpectedFrame

from consumers.broker.amqp_frames import FrameConnection
from consumers.broker.waker import Waker


def frame(payload: bytes, *, end: int = 0xCE) -> bytes:
    """A method's frame on channel 1."""
    return struct.pack(">BHI", 1, 1, len(payload)) + payload + bytes([end])


class Line:
    """A transport, and the broker's end of its connection."""

    def __init__(self, transport: Any, broker: socket.socket) -> None:
        self.transport = transport
        self.broker = broker

    def come(self, content: bytes) -> list[bytes]:
        """Receive bytes, and return the payloads of the complete frames."""
        self.broker.sendall(content)
        self.transport.receive_arrived(10, None)
        frames = iter(self.transport.arrived_frame, None)
        return [payload for _, _, payload in frames]


@pytest.fixture
def line() -> Iterator[Line]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connection = FrameConnection()
        transport = connection.Transport(f"127.0.0.1:{port}", 5, False, 1, 1)
        transport.connect()
        broker, _ = server.accept()
        with broker:
            # What a client says first.
            assert broker.recv(8).startswith(b"AMQP")
            yield Line(transport, broker)
        transport.close()


def test_frames_received_together_are_returned_one_by_one(line: Line) -> None:
    assert line.come(frame(b"a") + frame(b"") + frame(b"c" * 5000)) == [b"a", b"", b"c" * 5000]


@pytest.mark.parametrize("first", range(1, 10))
def test_a_frame_in_pieces_is_returned_once_complete(line: Line, first: int) -> None:
    content = frame(b"ab")
    assert line.come(frame(b"whole") + content[:first]) == [b"whole"]
    assert line.come(content[first:]) == [b"ab"]


def test_frames_already_received_are_returned_at_once(line: Line) -> None:
    line.broker.sendall(frame(b"a") + frame(b"b"))
    assert line.transport.read_frame() == (1, 1, b"a")
    assert line.transport.arrived_frame() == (1, 1, b"b")


def test_a_missing_answer_times_out_and_its_part_is_kept(
    line: Line,
) -> None:
    content = frame(b"ab")
    line.broker.sendall(content[:5])
    with pytest.raises(TimeoutError):
        line.transport.read_frame()
    line.broker.sendall(content[5:])
    assert line.transport.read_frame() == (1, 1, b"ab")
    assert line.transport.connected


def test_an_invalid_frame_is_reported(line: Line) -> None:
    with pytest.raises(UnexpectedFrame, match="0x41"):
        line.come(frame(b"a", end=0x41))


def test_a_closed_connection_is_reported(line: Line) -> None:
    line.broker.close()
    with pytest.raises(OSError, match="closed"):
        line.transport.receive_arrived(10, None)
    assert not line.transport.connected


def test_a_waker_ends_the_wait(line: Line) -> None:
    with closing(Waker()) as waker:
        threading.Timer(0.05, waker.wake).start()
        begun = time.monotonic()
        line.transport.receive_arrived(10, waker)
        assert time.monotonic() - begun < 5
        assert line.transport.arrived_frame() is None


def test_waiting_for_a_frame_ends_at_the_timeout(line: Line) -> None:
    begun = time.monotonic()
    line.transport.receive_arrived(0.05, None)
    assert 0.04 < time.monotonic() - begun < 5
