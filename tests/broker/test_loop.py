"""The loop on RabbitMQ."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from consumers.errors import ClockError
from consumers.runtime.loop import Loop, Stop
from events.event import ObjectCreated
from tests.broker.queues import RabbitQueues
from tests.contracts.loop import ROUTE, LoopContract, Opener, Recorder, make_log, running, settled


class TestLoopOnRabbitMQ(LoopContract):
    """The contract."""


class Misconfigured(Recorder):
    """A handler that cannot work on its host."""

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        raise ClockError("this host's clock is 60 minutes ahead")


def refused(queues: Opener) -> None:
    """Run a consumer that takes a delivery, cannot work, and ends."""
    loop = Loop(
        route=ROUTE,
        handler=Misconfigured(lambda _: None),
        open_inbox=queues.open_inbox,
        log=make_log(),
    )
    with pytest.raises(ClockError):
        loop.run(Stop())


def test_returned_deliveries_are_not_lost(queues: RabbitQueues) -> None:
    """Consumers that are upgraded in turn, or can't work, are no sign of poison."""
    queues.send("archives/a.tar")
    for _ in range(queues.topology.delivery_limit + 1):
        refused(queues)
    handler = Recorder(lambda _: None)
    with running(queues, handler):
        settled(queues)
    assert handler.keys == ["archives/a.tar"]
    assert queues.dead() == []
