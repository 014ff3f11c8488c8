"""An inbox on RabbitMQ acks the settled deliveries, only these, and at once."""

from __future__ import annotations

import time

import pytest

from consumers.broker.delivery import Delivery
from tests.broker.queues import RabbitQueues
from tests.contracts.loop import Recorder, running, settled
from tests.harness.polling import eventually

KEYS = [f"archives/{number}.tar" for number in range(6)]


@pytest.mark.parametrize(
    "over",
    [[], [0], [5], [0, 1, 2], [2, 3], [0, 2, 4], [5, 0, 1], [0, 1, 2, 3, 4, 5]],
)
def test_all_but_acked_deliveries_are_redelivered(queues: RabbitQueues, over: list[int]) -> None:
    """In whatever order they are acked before the connection is lost."""
    for key in KEYS:
        queues.send(key)
    taken: list[Delivery] = []
    inbox = queues.open_inbox(prefetch=len(KEYS))
    while len(taken) < len(KEYS):
        taken += inbox.drain(1)
    inbox.acknowledge([taken[place] for place in over])
    assert inbox.in_hand == {each for place, each in enumerate(taken) if place not in over}
    inbox._connection.collect()
    again = Recorder(lambda _: None)
    left = {key for place, key in enumerate(KEYS) if place not in over}
    with running(queues, again):
        eventually(lambda: set(again.keys) >= left, seconds=10)
        settled(queues)
    assert sorted(again.keys) == sorted(left)


def test_work_that_ends_in_any_order_is_acked(queues: RabbitQueues) -> None:
    """Of several workers, the first to begin is the last to end."""
    handler = Recorder(lambda event: time.sleep(0.3) if event.key == KEYS[0] else None)
    for key in KEYS:
        queues.send(key)
    with running(queues, handler, workers=3):
        settled(queues)
    assert sorted(handler.keys) == KEYS
    assert queues.waiting() == 0


def test_verdicts_are_settled_at_once(queues: RabbitQueues) -> None:
    """Of deliveries taken one by one, each waits for the verdict on the one before."""
    handler = Recorder(lambda _: None)
    for number in range(50):
        queues.send(f"archives/{number}.tar")
    begun = time.monotonic()
    with running(queues, handler):
        eventually(lambda: len(handler.calls) == 50, seconds=30)
    # A fiftieth of a second each; looked for five times a second, they would take ten.
    assert time.monotonic() - begun < 5
