"""The loop on SQS."""

from __future__ import annotations

import threading

import pytest

from consumers.broker.sqs_inbox import LOST_AFTER
from events.event import ObjectCreated
from ops.wiring.environment import Environment
from tests.broker.test_loop import refused
from tests.contracts.loop import LoopContract, Recorder, running, settled
from tests.contracts.poison import PoisonContract
from tests.integration.queues import VISIBILITY, EmbeddedQueues


@pytest.fixture
def queues(environment: Environment) -> EmbeddedQueues:
    return EmbeddedQueues(environment)


class TestLoopOnSqs(LoopContract):
    """The contract."""


def test_work_that_outlasts_the_visibility_timeout_is_not_delivered_twice(
    queues: EmbeddedQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.broker.sqs_inbox.VISIBILITY", 3)
    queues.set_visibility(3)
    waiting = threading.Event()

    def work(_: ObjectCreated) -> None:
        waiting.wait(8)

    handler = Recorder(work)
    queues.send("archives/a.tar")
    with running(queues, handler), running(queues, handler):
        settled(queues)
    assert handler.keys == ["archives/a.tar"]


class TestPoisonOnSqs(PoisonContract):
    """The contract."""

    @pytest.fixture
    def queues(self, environment: Environment) -> EmbeddedQueues:
        queues = EmbeddedQueues(environment)
        queues.set_visibility(VISIBILITY)
        return queues


def test_deliveries_of_a_dead_consumer_are_worked_on_alone(queues: EmbeddedQueues) -> None:
    for number in range(4):
        queues.send(f"archives/{number}.tar")
    queues.take_and_leave()
    handler = Recorder(lambda _: None, group=4)
    with running(queues, handler):
        settled(queues)
    assert len(handler.calls[0]) == 1
    assert sorted(handler.keys) == [f"archives/{number}.tar" for number in range(4)]


def test_returned_deliveries_are_not_lost(queues: EmbeddedQueues) -> None:
    """Consumers that are upgraded in turn, or can't work, are no sign of poison."""
    queues.send("archives/a.tar")
    for _ in range(LOST_AFTER + 1):
        refused(queues)
    handler = Recorder(lambda _: None)
    with running(queues, handler):
        settled(queues)
    assert handler.keys == ["archives/a.tar"]
    assert queues.dead() == []
