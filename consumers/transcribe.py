"""The route ``transcribe``: recordings' Opus objects in, their transcripts out.

Deliveries come in groups, as the recogniser is fast only on many recordings at
a time. Each has its own outcome all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, BinaryIO, cast

from consumers.absence import check_deleted
from consumers.audio.decode import decode_opus
from consumers.completion import Completion
from consumers.database.database import Database, Locks
from consumers.errors import BadAudioError, BusyError, PermanentError, TransientError
from consumers.facts import Facts
from consumers.manifest import converted
from consumers.scratch import Scratch
from consumers.speech.recogniser import Recogniser, Waveform
from consumers.store import Store, StoredObject
from consumers.transcript import Transcript
from events.event import ObjectCreated
from events.keys import OPUS, AudioId, MalformedKeyError, RecordingKey, parse_key


@dataclass(frozen=True, slots=True)
class Task:
    """A recording that is to be transcribed, or whose transcript is to be put on record.

    Attributes:
        audio: Its id.
        path: The member's path.
        facts: What is known of its sound.
        waveform: What the recogniser is to hear; None where there is no need.
        transcript: What is known without hearing it.
    """

    audio: AudioId
    path: str
    facts: Facts
    waveform: Waveform | None = None
    transcript: Transcript | None = None
    is_stored: bool = False


class Transcribe:
    """Does the route's work."""

    def __init__(
        self,
        *,
        store: Store,
        database: Database,
        completion: Completion,
        recogniser: Recogniser,
        scratch: Scratch,
        group: int,
        clock: Callable[[], datetime],
        log: Any,
    ) -> None:
        self.group = group
        self._store = store
        self._database = database
        self._completion = completion
        self._recogniser = recogniser
        self._scratch = scratch
        self._clock = clock
        self._log = log.bind(route="transcribe")

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        """Transcribe each event's recording. See `consumers.handler.Handler`."""
        with self._database.locks() as locks:
            tasks = [self._prepared(event, locks) for event in events]
            heard = self._heard([task for task in tasks if isinstance(task, Task)])
            return [
                self._finished(heard[task.audio]) if isinstance(task, Task) else task
                for task in tasks
            ]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Put on the recording's row why it does not go on."""
        self._database.stall_recording(_audio_id(event), error)

    def _prepared(self, event: ObjectCreated, locks: Locks) -> Task | Exception | None:
        """Find out what an event asks for: a task, nothing, or how that failed."""
        try:
            audio = _audio_id(event)
            stored = self._store.head(audio.opus_key)
            if stored is None:
                self._gone(event)
                return None
            if not locks.acquire(f"transcribe {audio}"):
                return BusyError(f"another worker is transcribing {audio}")
            return self._task(audio, stored)
        except (PermanentError, TransientError) as exc:
            return exc

    def _task(self, audio: AudioId, stored: StoredObject) -> Task:
        facts = Facts.from_metadata(stored.metadata)
        task = Task(audio, stored.metadata.get("path", str(audio)), facts)
        if self._store.head(audio.transcript_key) is not None:
            known = Transcript.from_json(self._store.read(audio.transcript_key))
            return replace(task, transcript=known, is_stored=True)
        if facts.silent:
            return replace(
                task, transcript=_without_words(task, "silent", "nothing is to be heard")
            )
        try:
            return replace(task, waveform=Waveform(str(audio), self._samples(audio)))
        except BadAudioError as exc:
            return replace(task, transcript=_without_words(task, "rejected", str(exc)))

    def _samples(self, audio: AudioId) -> Any:
        with self._scratch.file() as file:
            self._store.download(audio.opus_key, cast("BinaryIO", file))
            file.seek(0)
            return decode_opus(cast("BinaryIO", file))

    def _gone(self, event: ObjectCreated) -> None:
        check_deleted(event, self._clock())
        self._log.info("recording is gone, nothing to do", key=event.key)

    def _heard(self, tasks: Sequence[Task]) -> dict[AudioId, Task | Exception]:
        """Transcribe those tasks that need it, all at once."""
        outcomes: dict[AudioId, Task | Exception] = {task.audio: task for task in tasks}
        waiting = [task for task in outcomes.values() if isinstance(task, Task) and task.waveform]
        if waiting:
            waveforms = [task.waveform for task in waiting if task.waveform]
            results = self._recogniser.transcribe(waveforms)
            for task, result in zip(waiting, results, strict=True):
                outcomes[task.audio] = _with_result(task, result)
        return outcomes

    def _finished(self, task: Task | Exception) -> Exception | None:
        """Store the transcript, then its rows, then look whether it was the last."""
        if isinstance(task, Exception):
            return task
        try:
            self._put(task)
            self._completion.look(task.audio.batch)
        except (PermanentError, TransientError) as exc:
            return exc
        return None

    def _put(self, task: Task) -> None:
        transcript = task.transcript
        if transcript is None:
            raise TransientError(f"{task.audio} was not transcribed")
        if not task.is_stored:
            self._store.write(
                task.audio.transcript_key,
                transcript.to_json(),
                content_type="application/json",
            )
        recording = replace(
            converted(task.audio, task.path, task.facts, transcript.reason),
            state=transcript.state,
            transcript_key=task.audio.transcript_key,
        )
        self._database.put_transcript(recording, transcript)


def _with_result(task: Task, result: Transcript | Exception) -> Task | Exception:
    match result:
        case Transcript():
            return replace(task, waveform=None, transcript=result)
        case PermanentError():
            # Trying again can't help: that is the recording's outcome, and the
            # batch is not to wait for it.
            return replace(task, transcript=_without_words(task, "rejected", str(result)))
        case _:
            return result


def _without_words(task: Task, state: Any, reason: str) -> Transcript:
    return Transcript(
        audio_id=str(task.audio),
        state=state,
        reason=reason,
        duration=task.facts.duration,
        language=None,
        language_probability=None,
        model=None,
        alignment=None,
        segments=(),
    )


def _audio_id(event: ObjectCreated) -> AudioId:
    try:
        key = parse_key(event.key)
    except MalformedKeyError as exc:
        raise PermanentError(str(exc)) from exc
    if not isinstance(key, RecordingKey) or key.suffix != OPUS:
        raise PermanentError(f"{event.key} is no recording's key")
    return key.audio
