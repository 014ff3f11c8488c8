"""dropscribe's loop, as ``dropscribe consume`` runs it, around a handler that does nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from consumers.runtime.loop import Loop, Stop
from events.event import ObjectCreated
from events.routes import route_named
from ops.observe.metrics.consumer import ConsumerMetrics
from ops.observe.metrics.liveness import LoopHealth
from ops.wiring.adapters import open_inbox
from ops.wiring.environment import Environment
from ops.wiring.log import configure_log
from ops.wiring.settings import LoopSettings
from tests.bench.consumption.counter import Consumed, DeliveryCounter


class Idle:
    """A handler that only counts."""

    def __init__(self, group: int, tally: DeliveryCounter) -> None:
        self.group = group
        self._tally = tally

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        """Count the events."""
        for event in events:
            self._tally.add(event.key)
        return [None] * len(events)

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Do nothing: nothing fails."""


def consume_by_dropscribe(
    variables: Mapping[str, str], route: str, group: int, log: Path, count: str
) -> Consumed:
    """Take messages with log lines and figures.

    Args:
        group: Events per call of the handler; as many are prefetched.
    """
    environment, whose, stop = Environment(variables), route_named(route), Stop()
    tally = DeliveryCounter(int(count), stop.asked.set)
    with log.open("a") as file:
        Loop(
            route=whose,
            handler=Idle(group, tally),
            open_inbox=open_inbox(environment, whose),
            log=configure_log(file),
            delays=LoopSettings.read(environment).delays,
            observer=ConsumerMetrics(version("dropscribe")).observer(LoopHealth(route)),
        ).run(stop)
    return tally.taken
