"""dropscribe's loop, as ``dropscribe consume`` runs it, around a handler that does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


@contextmanager
def dropscribe_consumer(
    variables: Mapping[str, str], route: str, group: int, log: Path
) -> Iterator[Callable[[str], Consumed]]:
    """Make a consumer with its log lines, which go to a file, and its figures.

    Args:
        variables: The settings.
        route: Whose queue.
        group: Events per call of the handler; as many are prefetched.
        log: The file, to which lines are added.
    """
    environment, whose = Environment(variables), route_named(route)

    def take(count: str) -> Consumed:
        stop = Stop()
        tally = DeliveryCounter(int(count), stop.asked.set)
        with log.open("a") as file:
            observer = ConsumerMetrics(version("dropscribe")).observer(LoopHealth(route))
            Loop(
                route=whose,
                handler=Idle(group, tally),
                open_inbox=open_inbox(environment, whose),
                log=configure_log(file),
                delays=LoopSettings.read(environment).delays,
                observer=observer,
            ).run(stop)
        return tally.taken

    yield take
