"""The route ``transcribe``: recordings' Opus objects in, their transcripts out.

Deliveries come in groups, as the recogniser is fast only on many recordings at
a time. Each has its own outcome all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

from consumers.audio.decode import decode_opus
from consumers.database.batches import BatchRepository, Locks
from consumers.database.rows import Recording
from consumers.documents.audio_properties import AudioProperties
from consumers.documents.transcript import Transcript, TranscriptState, with_loudness
from consumers.errors import BadAudioError, BusyError, PermanentError, TransientError
from consumers.runtime.observer import SILENT, Observer, stage
from consumers.speech.recogniser import SAMPLE_RATE, Recogniser, Waveform
from consumers.speech.recogniser import Recognition as Result
from consumers.stages.completion import COMPLETION_TABLES, Completion
from consumers.stages.created_object import check_bucket, check_deleted
from consumers.stages.spec import StageSpec
from consumers.stages.stored_archive import ARCHIVES_GRANT
from consumers.store import Store, StoredObject
from consumers.store.scratch import Scratch
from events.event import ObjectCreated
from events.keys import (
    COMPLETE,
    OPUS,
    TRANSCRIPT,
    AudioId,
    MalformedKeyError,
    RecordingKey,
    parse_key,
)

SPEC = StageSpec(
    writes=(TRANSCRIPT, COMPLETE),
    grants=(ARCHIVES_GRANT,),
    # It writes what people said, and cannot read what others said.
    tables={
        **COMPLETION_TABLES,
        "transcripts": {"SELECT": ("batch_id", "ordinal"), "INSERT": ()},
    },
    states=("transcribed", "silent", "rejected"),
)

#: Seconds of sound that are decoded, heard and stored together: an hour of
#: samples takes 230 MB, and no more than an hour's work is ever lost.
_TOGETHER = 3600.0


#: Seconds that may be missing at a recording's end without a word being lost.
_MISSING = 0.25


@dataclass(frozen=True, slots=True)
class Task:
    """A recording that is to be transcribed, or whose transcript is to be put on record.

    Attributes:
        audio: Its id.
        path: The member's path.
        facts: What is known of its sound.
        transcript: What is known without hearing it.
        is_stored: Whether that is in the bucket already.
    """

    audio: AudioId
    path: str
    facts: AudioProperties
    transcript: Transcript | None = None
    is_stored: bool = False


Outcome = Exception | None


class Transcribe:
    """Does the route's work."""

    def __init__(
        self,
        *,
        store: Store,
        database: BatchRepository,
        completion: Completion,
        recogniser: Recogniser,
        scratch: Scratch,
        group: int,
        log: Any,
        observer: Observer = SILENT,
    ) -> None:
        self.group = group
        self._store = store
        self._database = database
        self._completion = completion
        self._recogniser = recogniser
        self._scratch = scratch
        self._log = log.bind(route="transcribe")
        self._observer = observer

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Outcome]:
        """Transcribe each event's recording. See `consumers.runtime.handler.Handler`."""
        with self._database.locks() as locks:
            tasks = [self._task(event, locks) for event in events]
            outcomes = self._done({task.audio: task for task in tasks if isinstance(task, Task)})
        return [outcomes[task.audio] if isinstance(task, Task) else task for task in tasks]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Put on the recording's row why it does not go on."""
        try:
            audio = _audio_id(event)
        except PermanentError:
            return
        self._database.stall_recording(audio, error)

    def _task(self, event: ObjectCreated, locks: Locks) -> Task | Outcome:
        """Find out what an event asks for: a task, nothing, or how that failed."""
        try:
            check_bucket(event, self._store.bucket)
            audio = _audio_id(event)
            stored = self._store.head(audio.opus_key)
            if stored is None:
                self._gone(event, audio)
                return None
            if not locks.acquire(f"transcribe {audio}"):
                return BusyError(f"another worker is transcribing {audio}")
            return self._known(audio, stored)
        except (PermanentError, TransientError) as exc:
            return exc

    def _known(self, audio: AudioId, stored: StoredObject) -> Task:
        facts = AudioProperties.from_metadata(stored.metadata)
        task = Task(audio, stored.metadata.get("path", str(audio)), facts)
        if self._store.head(audio.transcript_key) is not None:
            transcript = Transcript.from_json(
                self._store.read(audio.transcript_key), audio.transcript_key
            )
            return replace(task, transcript=transcript, is_stored=True)
        if facts.silent:
            return replace(
                task, transcript=_without_words(task, "silent", "nothing is to be heard")
            )
        return task

    def _gone(self, event: ObjectCreated, audio: AudioId) -> None:
        check_deleted(event, self._store.now())
        self._log.info("recording is gone, nothing to do", key=event.key, batch=str(audio.batch))

    def _done(self, tasks: Mapping[AudioId, Task]) -> dict[AudioId, Outcome]:
        """Do the tasks, those that have to be heard an hour of sound at a time."""
        outcomes: dict[AudioId, Outcome] = {}
        to_hear = []
        for task in tasks.values():
            if task.transcript is None:
                to_hear.append(task)
            else:
                outcomes[task.audio] = self._finished(task, task.transcript)
        for together in _in_portions(to_hear):
            outcomes |= self._heard(together)
        return outcomes

    def _heard(self, tasks: Sequence[Task]) -> dict[AudioId, Outcome]:
        """Transcribe recordings together; each has an outcome of its own."""
        sounds = [(task, self._waveform(task)) for task in tasks]
        results = iter(self._hear([sound for _, sound in sounds if isinstance(sound, Waveform)]))
        return {
            task.audio: self._settled(
                task, _measured(next(results), sound) if isinstance(sound, Waveform) else sound
            )
            for task, sound in sounds
        }

    def _hear(self, waveforms: Sequence[Waveform]) -> Sequence[Result]:
        if not waveforms:
            return ()
        with stage(self._observer, "hear"):
            return self._recogniser.transcribe(waveforms)

    def _waveform(self, task: Task) -> Waveform | PermanentError | TransientError:
        try:
            with stage(self._observer, "read"), self._scratch.file() as file:
                self._store.download(task.audio.opus_key, file)
                file.seek(0)
                samples = decode_opus(cast("BinaryIO", file))
            _check_whole(task, len(samples) / SAMPLE_RATE)
        except BadAudioError as exc:
            return _damaged(task, str(exc))
        except (PermanentError, TransientError) as exc:
            return exc
        return Waveform(str(task.audio), samples)

    def _settled(self, task: Task, result: Result) -> Outcome:
        match result:
            case Transcript():
                return self._finished(task, result)
            case PermanentError():
                # Trying again can't help: that is the recording's outcome, and
                # its batch is not to wait for it.
                return self._finished(task, _without_words(task, "rejected", str(result)))
            case _:
                return result

    def _finished(self, task: Task, transcript: Transcript) -> Outcome:
        """Store the transcript, then its rows, then look whether it was the last."""
        try:
            self._put(task, transcript)
            with stage(self._observer, "record"):
                self._record(task, transcript)
        except (PermanentError, TransientError) as exc:
            return exc
        return None

    def _put(self, task: Task, transcript: Transcript) -> None:
        if task.is_stored:
            return
        with stage(self._observer, "store"):
            self._store.write(
                task.audio.transcript_key,
                transcript.to_json(),
                content_type="application/json",
            )
        is_heard = transcript.state != "rejected"
        self._observer.recording_ended(
            task.audio, transcript.state, task.facts.duration if is_heard else 0.0
        )

    def _record(self, task: Task, transcript: Transcript) -> None:
        recording = replace(
            Recording.converted(task.audio, task.path, task.facts, transcript.reason),
            state=transcript.state,
            transcript_key=task.audio.transcript_key,
        )
        self._database.put_transcript(recording, transcript)
        self._completion.look(task.audio.batch)


def _in_portions(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Split tasks by their sound's length; one that is longer goes alone."""
    portion: list[Task] = []
    seconds = 0.0
    for task in tasks:
        if portion and seconds + task.facts.duration > _TOGETHER:
            yield portion
            portion, seconds = [], 0.0
        portion.append(task)
        seconds += task.facts.duration
    if portion:
        yield portion


def _check_whole(task: Task, seconds: float) -> None:
    """Make sure that a recording came as long as it was stored.

    Raises:
        TransientError: It did not.
    """
    if seconds < task.facts.duration - _MISSING:
        raise _damaged(task, f"it holds {seconds:.1f} of its {task.facts.duration:.1f} seconds")


def _damaged(task: Task, error: str) -> TransientError:
    """Say that an object is not what was stored. The recording itself is not to blame."""
    return TransientError(
        f"{task.audio.opus_key} is damaged in the store: {error} "
        "(dropscribe reprocess --from unpack makes it anew)"
    )


def _measured(result: Result, sound: Waveform) -> Result:
    """Put the loudness of its sound on a transcript."""
    if isinstance(result, Transcript):
        return with_loudness(result, sound.samples, SAMPLE_RATE)
    return result


def _without_words(task: Task, state: TranscriptState, reason: str) -> Transcript:
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
