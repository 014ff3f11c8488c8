"""The stage ``transcribe``: takes the Opus objects of recordings, stores their transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

from msgspec import structs

from consumers.audio.decode import decode_opus
from consumers.database.batches import Locks
from consumers.database.rows import Recording
from consumers.documents.audio_properties import AudioProperties, notes_of_metadata
from consumers.documents.note import Note
from consumers.documents.transcript import Transcript, TranscriptState, with_loudness
from consumers.errors import BadAudioError, PermanentError, TransientError
from consumers.runtime.observer import step
from consumers.speech.recogniser import SAMPLE_RATE, Recogniser, Recognition, Waveform
from consumers.stages.completion import COMPLETION_TABLES
from consumers.stages.grouped import GroupedStage, RecordingTask
from consumers.stages.spec import StageSpec
from consumers.stages.stage_handler import Outcome, StageContext
from consumers.stages.stored_archive import ARCHIVES_GRANT
from consumers.store.errors import DamagedObjectError
from consumers.store.scratch import Scratch
from events.event import ObjectCreated
from events.keys import COMPLETE, OPUS, TRANSCRIPT, AudioId

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

#: Seconds that may be missing at a recording's end without the loss of a word.
_MISSING = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionTask(RecordingTask[Transcript]):
    """A recording whose transcript is to be made or recorded.

    Attributes:
        path: The member's path in the archive.
        properties: The properties of its sound.
        notes: Those of its conversion, as the Opus object's metadata has them.
    """

    path: str
    properties: AudioProperties
    notes: tuple[Note, ...] = ()


class Transcribe(GroupedStage[TranscriptionTask, Transcript]):
    """Stores a transcript per recording; silent ones are settled without the recogniser."""

    _name = "transcribe"
    _activity = "transcribing"
    _absence = "recording is gone"
    _suffix = OPUS

    # Seconds of sound: an hour of samples takes 230 MB.
    _most = 3600.0

    def __init__(
        self, context: StageContext, *, recogniser: Recogniser, scratch: Scratch, group: int
    ) -> None:
        super().__init__(context, group)
        self._scratch = scratch
        self._recogniser = recogniser

    def _begin(
        self, event: ObjectCreated, audio: AudioId, locks: Locks
    ) -> TranscriptionTask | None:
        stored = self._store.head(audio.opus_key)
        if stored is None:
            self._skip_deleted(event)
            return None
        self._lock(locks, audio)
        task = TranscriptionTask(
            audio=audio,
            path=stored.metadata.get("path", str(audio)),
            properties=AudioProperties.from_metadata(stored.metadata),
            notes=notes_of_metadata(stored.metadata),
        )
        key = audio.transcript_key
        if self._store.head(key) is not None:
            transcript = Transcript.from_json(self._store.read(key), key)
            return replace(task, document=transcript, is_stored=True)
        if task.properties.silent:
            return replace(task, document=_without_words(task, "silent", "no audible sound"))
        return task

    def _weight(self, task: TranscriptionTask) -> float:
        return task.properties.duration

    def _work(self, tasks: Sequence[TranscriptionTask]) -> dict[AudioId, Outcome]:
        sounds = [(task, self._waveform(task)) for task in tasks]
        results = iter(self._hear([sound for _, sound in sounds if isinstance(sound, Waveform)]))
        return {
            task.audio: self._finish_recognised(
                task, _measured(next(results), sound) if isinstance(sound, Waveform) else sound
            )
            for task, sound in sounds
        }

    def _hear(self, waveforms: Sequence[Waveform]) -> Sequence[Recognition]:
        if not waveforms:
            return ()
        with step(self._observer, "hear"):
            return self._recogniser.transcribe(waveforms)

    def _waveform(self, task: TranscriptionTask) -> Waveform | PermanentError | TransientError:
        try:
            with step(self._observer, "read"), self._scratch.file() as file:
                self._store.download(task.audio.opus_key, file)
                file.seek(0)
                samples = decode_opus(cast("BinaryIO", file))
            _check_whole(task, len(samples) / SAMPLE_RATE)
        except BadAudioError as exc:
            return DamagedObjectError(task.audio.opus_key, str(exc))
        except (PermanentError, TransientError) as exc:
            return exc
        return Waveform(str(task.audio), samples)

    def _finish_recognised(self, task: TranscriptionTask, result: Recognition) -> Outcome:
        match result:
            case Transcript():
                return self._finish(
                    task, structs.replace(result, notes=(*task.notes, *result.notes))
                )
            case PermanentError():
                # Another attempt cannot help: the recording ends so, and its batch does not
                # wait for it.
                return self._finish(task, _without_words(task, "rejected", str(result)))
            case _:
                return result

    def _put(self, task: TranscriptionTask, transcript: Transcript) -> None:
        key = task.audio.transcript_key
        with step(self._observer, "store"):
            self._store.write(key, transcript.to_json(), content_type="application/json")
        is_heard = transcript.state != "rejected"
        self._observer.recording_ended(
            task.audio, transcript.state, task.properties.duration if is_heard else 0.0
        )

    def _record(self, task: TranscriptionTask, transcript: Transcript) -> None:
        recording = Recording.converted(task.audio, task.path, task.properties, task.notes)
        self._database.put_transcript(recording.transcribed(transcript), transcript)


def _check_whole(task: TranscriptionTask, seconds: float) -> None:
    """Make sure that a recording is as long as its metadata says.

    Raises:
        DamagedObjectError: It is shorter.
    """
    if seconds < task.properties.duration - _MISSING:
        raise DamagedObjectError(
            task.audio.opus_key,
            f"it holds {seconds:.1f} of its {task.properties.duration:.1f} seconds",
        )


def _measured(result: Recognition, sound: Waveform) -> Recognition:
    """Add to a transcript how loud each segment is."""
    if isinstance(result, Transcript):
        return with_loudness(result, sound.samples, SAMPLE_RATE)
    return result


def _without_words(task: TranscriptionTask, state: TranscriptState, reason: str) -> Transcript:
    return Transcript(
        audio_id=str(task.audio),
        state=state,
        reason=reason,
        duration=task.properties.duration,
        language=None,
        language_probability=None,
        model=None,
        alignment=None,
        segments=(),
        notes=task.notes,
    )
