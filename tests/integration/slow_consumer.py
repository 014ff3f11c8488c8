"""Consumers whose handlers wait: ``FILE ROUTE...``, until there is such a file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from consumers.runtime.handler import Handler
from events.event import ObjectCreated
from ops.cli.commands.consume import run_consumers
from ops.wiring.adapters import Adapters
from ops.wiring.environment import Environment


class Slow:
    """A handler whose work is not over before a file is there."""

    def __init__(self, handler: Handler, file: Path) -> None:
        self.group = handler.group
        self.give_up = handler.give_up
        self._handler = handler
        self._file = file

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        while not self._file.exists():
            time.sleep(0.05)
        return self._handler.handle(events)


def main(file: str, *routes: str) -> None:
    """Consume until a signal asks to end."""
    adapters = Adapters(handler=lambda handler: Slow(handler, Path(file)))
    run_consumers(routes, Environment(os.environ), adapters)


if __name__ == "__main__":
    main(*sys.argv[1:])
