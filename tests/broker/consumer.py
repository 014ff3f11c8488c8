"""A consumer in a process of its own, which some objects kill: ``URL LIMIT GROUP``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import structlog

from consumers.loop import Loop, Stop
from events.event import ObjectCreated
from tests.broker.queues import RabbitQueues
from tests.contracts.loop import ROUTE


class Mortal:
    """Prints what it has done; dies of what is called poison."""

    def __init__(self, group: int) -> None:
        self.group = group

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        for event in events:
            if "poison" in event.key:
                os.kill(os.getpid(), signal.SIGKILL)
        for event in events:
            sys.stdout.write(f"{event.key}\n")
        sys.stdout.flush()
        return [None for _ in events]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Nothing is on record here."""


def main(url: str, limit: str, group: str) -> None:
    """Consume until killed."""
    queues = RabbitQueues(url, delivery_limit=int(limit))
    Loop(
        route=ROUTE,
        handler=Mortal(int(group)),
        open_inbox=queues.open_inbox,
        log=structlog.wrap_logger(structlog.PrintLogger(sys.stderr)),
    ).run(Stop())


if __name__ == "__main__":
    main(*sys.argv[1:])
