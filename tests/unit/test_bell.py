"""A bell that wakes a thread which waits for sockets."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator

import pytest

from consumers.runtime.bell import Bell


@pytest.fixture
def bell() -> Iterator[Bell]:
    with Bell() as bell:
        yield bell


def rings(bell: Bell, seconds: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def test_who_waits_is_woken_by_another_thread(bell: Bell) -> None:
    begun = time.monotonic()
    threading.Timer(0.05, bell.ring).start()
    assert rings(bell, 10)
    assert time.monotonic() - begun < 5


def test_many_rings_are_hushed_at_once_and_it_can_be_rung_again(bell: Bell) -> None:
    for _ in range(100_000):
        bell.ring()
    bell.hush()
    assert not rings(bell)
    bell.ring()
    assert rings(bell)


def test_what_did_not_ring_can_be_hushed(bell: Bell) -> None:
    bell.hush()
    assert not rings(bell)


def test_once_it_is_taken_away_ringing_does_nothing() -> None:
    with Bell() as bell:
        pass
    bell.ring()
    bell.hush()
