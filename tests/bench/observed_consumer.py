"""A consumer that records when it handles events and stores objects."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from consumers.runtime.handler import Handler
from consumers.runtime.loop import Stop
from consumers.store import Store
from events.event import ObjectCreated
from ops.wiring.adapters import make_store
from ops.wiring.environment import Environment
from ops.wiring.log import configure_log
from ops.wiring.pipeline import PIPELINE, open_consumer
from tests.harness.deployment.consumer import immortal


@dataclass(frozen=True, slots=True)
class Milestone:
    """What happened when.

    Attributes:
        what: An event was handed to the handler, or an object was sent to the store, or is there.
        at: On the machine's monotonic clock, which all processes read.
    """

    what: Literal["handed", "sent", "stored"]
    key: str
    at: float


Write = Callable[[Milestone], None]


class _NotingStore(Store):
    def __init__(self, store: Store, note: Write) -> None:
        vars(self).update(vars(store))
        self._note = note

    def write(
        self,
        key: str,
        content: bytes | BinaryIO,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._note(Milestone("sent", key, time.monotonic()))
        super().write(key, content, content_type=content_type, metadata=metadata)
        self._note(Milestone("stored", key, time.monotonic()))


class _NotingHandler:
    def __init__(self, handler: Handler, note: Write) -> None:
        self._handler = handler
        self._note = note
        self.group = handler.group
        self.give_up = handler.give_up

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        for event in events:
            self._note(Milestone("handed", event.key, time.monotonic()))
        return self._handler.handle(events)


@contextmanager
def observed_consumer(
    variables: Mapping[str, str], route: str
) -> Iterator[Callable[[str], list[Milestone]]]:
    """Consume a route, as ``dropscribe consume`` does but without models; asked, give the notes."""
    notes: list[Milestone] = []
    adapters = replace(
        immortal(),
        store=lambda *told: _NotingStore(make_store(*told), notes.append),
        handler=lambda handler: _NotingHandler(handler, notes.append),
    )
    stop = Stop()

    def give(prefix: str) -> list[Milestone]:
        return [note for note in tuple(notes) if note.key.startswith(prefix)]

    with (
        Path(os.devnull).open("w") as nowhere,
        open_consumer(
            PIPELINE[route], Environment(variables), configure_log(nowhere), adapters
        ) as loop,
    ):
        thread = threading.Thread(target=loop.run, args=(stop,))
        thread.start()
        try:
            yield give
        finally:
            stop.asked.set()
            thread.join()
