"""Deliveries on their way from the connection's thread to the work threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from consumers.broker.delivery import Delivery
from consumers.runtime.worker_pool import Arrivals

#: Seconds that no test waits for.
_LONG = 60.0


def deliveries(count: int) -> list[Delivery]:
    return [Delivery(str(n), 1, losses=0, is_lost=False, message=None) for n in range(count)]


@given(arrived=st.lists(st.integers(0, 5), max_size=8), most=st.integers(1, 7))
def test_deliveries_are_given_once_in_order_and_in_groups(arrived: list[int], most: int) -> None:
    arrivals = Arrivals()
    sent = [deliveries(count) for count in arrived]
    for together in sent:
        arrivals.put(together)
    taken: list[Delivery] = []
    while len(taken) < sum(arrived):
        group = arrivals.take(most, 0.0)
        assert 0 < len(group) <= most
        taken += group
    assert taken == [each for together in sent for each in together]
    assert arrivals.clear() == []


def test_a_group_waits_to_be_filled() -> None:
    arrivals = Arrivals()
    first, *others = deliveries(3)
    with ThreadPoolExecutor(1) as pool:
        group = pool.submit(arrivals.take, 3, _LONG)
        arrivals.put([first])
        arrivals.put(others)
        assert group.result(_LONG) == [first, *others]


def test_an_incomplete_group_is_handed_over_after_the_wait() -> None:
    arrivals = Arrivals()
    (only,) = deliveries(1)
    arrivals.put([only])
    began = time.monotonic()
    assert arrivals.take(3, 0.05) == [only]
    assert time.monotonic() - began >= 0.05


def test_cleared_deliveries_are_given_to_nobody() -> None:
    arrivals = Arrivals()
    sent = deliveries(2)
    arrivals.put(sent)
    assert arrivals.clear() == sent
    assert arrivals.clear() == []


def test_many_threads_share_arrivals_until_it_is_closed() -> None:
    arrivals = Arrivals()
    sent = deliveries(200)
    taken: list[Delivery] = []
    lock = threading.Lock()

    def take() -> None:
        while group := arrivals.take(7, 0.001):
            with lock:
                taken.extend(group)

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(take) for _ in range(4)]
        for begin in range(0, len(sent), 10):
            arrivals.put(sent[begin : begin + 10])
        deadline = time.monotonic() + _LONG
        while len(taken) < len(sent) and time.monotonic() < deadline:
            time.sleep(0.01)
        arrivals.close()
        for thread in threads:
            thread.result(_LONG)
    assert sorted(taken, key=lambda each: int(each.body)) == sent


def test_a_closed_pool_gives_nothing() -> None:
    arrivals = Arrivals()
    arrivals.put(deliveries(1))
    arrivals.close()
    assert arrivals.take(1, _LONG) == []
