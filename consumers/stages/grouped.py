"""Stages that work on many recordings at a time, as their models are fast only then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from consumers.database.batches import BatchRepository, Locks
from consumers.errors import BusyError, PermanentError, TransientError
from consumers.runtime.observer import Observer, step
from consumers.stages.completion import Completion
from consumers.stages.created_object import audio_id, check_bucket, check_deleted
from consumers.stages.outcome import Outcome, outcome_of
from consumers.store import Store
from events.event import ObjectCreated
from events.keys import AudioId

DocumentT = TypeVar("DocumentT")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingTask(Generic[DocumentT]):
    """A recording whose document is to be made, or only recorded in the database.

    Attributes:
        audio: The recording.
        document: The document, where the model is not needed to make it.
        is_stored: Whether the document is in the bucket already.
    """

    audio: AudioId
    document: DocumentT | None = None
    is_stored: bool = False


TaskT = TypeVar("TaskT", bound=RecordingTask[Any])


class GroupedStage(ABC, Generic[TaskT, DocumentT]):
    """A handler for groups of deliveries (`consumers.runtime.handler.Handler`).

    Each recording has an outcome of its own: one that fails does not fail the others.
    """

    #: The stage's name, and the work that it is busy with, for messages.
    _name: ClassVar[str]
    _activity: ClassVar[str]

    #: The suffix of the objects that it takes.
    _suffix: ClassVar[str]

    #: The most that is worked on together, by `_weight`; a crash loses no more work.
    _most: ClassVar[float]

    def __init__(
        self,
        *,
        store: Store,
        database: BatchRepository,
        completion: Completion,
        group: int,
        log: Any,
        observer: Observer,
    ) -> None:
        self.group = group
        self._store = store
        self._database = database
        self._completion = completion
        self._log = log.bind(route=self._name)
        self._observer = observer

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Outcome]:
        """Work on the recordings of the events."""
        try:
            self._prepare()
        except (PermanentError, TransientError) as exc:
            return [exc] * len(events)
        with self._database.locks() as locks:
            tasks = [self._task(event, locks) for event in events]
            outcomes = self._outcomes(
                {task.audio: task for task in tasks if isinstance(task, RecordingTask)}.values()
            )
        return [outcomes[task.audio] if isinstance(task, RecordingTask) else task for task in tasks]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Record in the recording's row why it stalls."""
        try:
            audio = audio_id(event, self._suffix)
        except PermanentError:
            return
        self._database.stall_recording(audio, error)

    def _prepare(self) -> None:
        """Get ready for a group. Its errors are those of each event."""

    @abstractmethod
    def _begin(self, event: ObjectCreated, audio: AudioId, locks: Locks) -> TaskT | None:
        """Make the task that an event asks for; None if there is nothing to do."""

    @abstractmethod
    def _weight(self, task: TaskT) -> float:
        """Weigh a task that needs the model."""

    @abstractmethod
    def _work(self, tasks: Sequence[TaskT]) -> dict[AudioId, Outcome]:
        """Make the documents of some recordings together, and finish each."""

    @abstractmethod
    def _put(self, task: TaskT, document: DocumentT) -> None:
        """Store a document."""

    @abstractmethod
    def _record(self, task: TaskT, document: DocumentT) -> None:
        """Write the rows of a document."""

    def _task(self, event: ObjectCreated, locks: Locks) -> TaskT | Outcome:
        try:
            check_bucket(event, self._store.bucket)
            return self._begin(event, audio_id(event, self._suffix), locks)
        except (PermanentError, TransientError) as exc:
            return exc

    def _lock(self, locks: Locks, audio: AudioId) -> None:
        if not locks.acquire(f"{self._name} {audio}"):
            raise BusyError(f"another worker is {self._activity} {audio}")

    def _skip_deleted(self, event: ObjectCreated, audio: AudioId, what: str) -> None:
        check_deleted(event, self._store.now())
        self._log.info(f"{what} is gone, nothing to do", key=event.key, batch=str(audio.batch))

    def _outcomes(self, tasks: Iterable[TaskT]) -> dict[AudioId, Outcome]:
        outcomes: dict[AudioId, Outcome] = {}
        waiting = []
        for task in tasks:
            if task.document is None:
                waiting.append(task)
            else:
                outcomes[task.audio] = self._finish(task, task.document)
        for portion in self._portions(waiting):
            outcomes |= self._work(portion)
        return outcomes

    def _portions(self, tasks: Iterable[TaskT]) -> Iterator[list[TaskT]]:
        """Split tasks by weight; one that is too heavy goes alone."""
        portion: list[TaskT] = []
        total = 0.0
        for task in tasks:
            weight = self._weight(task)
            if portion and total + weight > self._most:
                yield portion
                portion, total = [], 0.0
            portion.append(task)
            total += weight
        if portion:
            yield portion

    def _finish(self, task: TaskT, document: DocumentT) -> Outcome:
        """Store the document, then its rows, then complete the batch if it was the last."""

        def finish() -> None:
            if not task.is_stored:
                self._put(task, document)
            with step(self._observer, "record"):
                self._record(task, document)
                self._completion.complete_if_done(task.audio.batch)

        return outcome_of(finish)
