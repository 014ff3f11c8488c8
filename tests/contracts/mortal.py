"""A consumer that some objects crash, for a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import structlog

from consumers.runtime.loop import Loop, OpenInbox, Stop
from events.event import ObjectCreated
from tests.contracts.loop import ROUTE


class PrintingHandler:
    """Prints the keys that it has done or given up; killed by keys with 'poison'."""

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
        sys.stdout.write(f"given-up:{event.key}\n")
        sys.stdout.flush()


def consume(open_inbox: OpenInbox, group: int) -> None:
    """Consume until killed."""
    Loop(
        route=ROUTE,
        handler=PrintingHandler(group),
        open_inbox=open_inbox,
        log=structlog.wrap_logger(structlog.PrintLogger(sys.stderr)),
    ).run(Stop())
