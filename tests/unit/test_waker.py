"""Waking a thread that waits for sockets."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from consumers.broker.waker import Waker


@pytest.fixture
def waker() -> Iterator[Waker]:
    with closing(Waker()) as waker:
        yield waker


def is_awake(waker: Waker, seconds: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(waker, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def test_another_thread_wakes_the_one_that_polls(waker: Waker) -> None:
    begun = time.monotonic()
    threading.Timer(0.05, waker.wake).start()
    assert is_awake(waker, 10)
    assert time.monotonic() - begun < 5


def test_many_wakes_are_cleared_at_once_and_it_can_wake_again(waker: Waker) -> None:
    for _ in range(100_000):
        waker.wake()
    waker.clear()
    assert not is_awake(waker)
    waker.wake()
    assert is_awake(waker)


def test_clearing_without_a_wake_does_nothing(waker: Waker) -> None:
    waker.clear()
    assert not is_awake(waker)


def test_waking_does_nothing_once_closed() -> None:
    with closing(Waker()) as waker:
        pass
    waker.wake()
    waker.clear()
    assert waker.fileno() == -1
