"""What the handlers of all stages share (`consumers.runtime.handler.Handler`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from consumers.database.batches import BatchRepository, Locks
from consumers.errors import BusyError, PermanentError, TransientError
from consumers.runtime.observer import SILENT, Observer
from consumers.stages.completion import Completion
from consumers.store import Store
from events.event import ObjectCreated
from events.keys import AudioId, BatchId, batch_of

#: An event can come before its object can be read: some stores announce the start of a
#: multipart upload. After this long, the object was deleted. It has to be over before the
#: last retry.
_GRACE = timedelta(minutes=5)

#: How the work on an event ends: None if it is done, or the error that ended it.
Outcome = Exception | None


def outcome_of(work: Callable[[], None]) -> Outcome:
    """Do the work. Errors other than the two kinds that are expected pass through."""
    try:
        work()
    except (PermanentError, TransientError) as exc:
        return exc
    return None


@dataclass(frozen=True, slots=True)
class StageContext:
    """What every stage works with; ``log`` is a structlog logger."""

    store: Store
    database: BatchRepository
    log: Any
    observer: Observer = SILENT


class StageHandler:
    """The part of a handler that is the same in all stages."""

    #: The stage's name, the work that it is busy with, and an event without object, in messages.
    _name: ClassVar[str]
    _activity: ClassVar[str]
    _absence: ClassVar[str]

    def __init__(self, context: StageContext) -> None:
        self._store = context.store
        self._database = context.database
        self._log = context.log.bind(route=self._name)
        self._observer = context.observer
        self._completion = Completion(
            context.store, context.database, context.log, context.observer
        )

    def _check_bucket(self, event: ObjectCreated) -> None:
        """Refuse an event of another bucket: HEAD would take its object for deleted.

        Raises:
            PermanentError: The event's bucket is not the store's.
        """
        if event.bucket != self._store.bucket:
            raise PermanentError(
                f"the event is about bucket {event.bucket!r}, but S3_BUCKET is "
                f"{self._store.bucket!r}"
            )

    def _skip_deleted(self, event: ObjectCreated) -> None:
        """Accept that an event's object does not exist.

        Raises:
            TransientError: The event is young, so its object may still come.
        """
        # The store's time, as this host's clock may differ.
        if event.time is not None and self._store.now() - event.time < _GRACE:
            raise TransientError(f"{event.key} is not readable yet")
        batch = batch_of(event.key)
        self._log.info(
            f"{self._absence}, nothing to do",
            key=event.key,
            batch=None if batch is None else str(batch),
        )

    def _lock(self, locks: Locks, subject: BatchId | AudioId) -> None:
        """Keep other workers from the same work.

        Raises:
            BusyError: One is at it.
        """
        if not locks.acquire(f"{self._name} {subject}"):
            raise BusyError(f"another worker is {self._activity} {subject}")
