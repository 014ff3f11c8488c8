"""Stages that work on many recordings at a time, as their models are fast only then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from consumers.database.batches import Locks
from consumers.errors import PermanentError, TransientError
from consumers.portions import weighed_portions
from consumers.runtime.observer import step
from consumers.stages.created_object import audio_id
from consumers.stages.stage_handler import Outcome, StageContext, StageHandler, outcome_of
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


class GroupedStage(StageHandler, ABC, Generic[TaskT, DocumentT]):
    """A handler for groups of deliveries.

    Each recording has an outcome of its own: one that fails does not fail the others.
    """

    #: The suffix of the objects that it takes.
    _suffix: ClassVar[str]

    #: The most that is worked on together, by `_weight`; a crash loses no more work.
    _most: ClassVar[float]

    def __init__(self, context: StageContext, group: int) -> None:
        super().__init__(context)
        self.group = group

    def check(self) -> None:
        """Get ready for a group. Its errors are those of each event."""

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Outcome]:
        """Work on the recordings of the events."""
        try:
            self.check()
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
            self._check_bucket(event)
            return self._begin(event, audio_id(event, self._suffix), locks)
        except (PermanentError, TransientError) as exc:
            return exc

    def _outcomes(self, tasks: Iterable[TaskT]) -> dict[AudioId, Outcome]:
        outcomes: dict[AudioId, Outcome] = {}
        waiting = []
        for task in tasks:
            if task.document is None:
                waiting.append(task)
            else:
                outcomes[task.audio] = self._finish(task, task.document)
        for portion in weighed_portions(waiting, self._weight, self._most):
            outcomes |= self._work(portion)
        return outcomes

    def _finish(self, task: TaskT, document: DocumentT) -> Outcome:
        """Store the document, then its rows, then complete the batch if it was the last."""

        def finish() -> None:
            if not task.is_stored:
                self._put(task, document)
            with step(self._observer, "record"):
                self._record(task, document)
                self._completion.complete_if_done(task.audio.batch)

        return outcome_of(finish)
