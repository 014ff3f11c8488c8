"""The stage ``transcribe``: takes the Opus objects of recordings, stores their transcripts.

Each channel of a recording is recognised on its own, and its words keep its number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from typing import BinaryIO, cast

from msgspec import structs

from consumers.audio.decode import count_channels, decode_channels
from consumers.database.batches import Locks
from consumers.database.rows import Recording
from consumers.documents.audio_properties import AudioProperties, notes_of_metadata
from consumers.documents.codec import MalformedDocumentError
from consumers.documents.note import Note, NoteCode
from consumers.documents.transcript import (
    Transcript,
    TranscriptState,
    join_channels,
    with_loudness,
)
from consumers.errors import BadAudioError, BusyError, PermanentError, TransientError
from consumers.portions import weighed_portions
from consumers.runtime.observer import step
from consumers.speech.recogniser import SAMPLE_RATE, Recogniser, Recognition, Waveform
from consumers.stages.completion import COMPLETION_TABLES
from consumers.stages.grouped import GroupedStage, RecordingTask
from consumers.stages.spec import StageSpec
from consumers.stages.stage_handler import Outcome, StageContext
from consumers.stages.stored_archive import ARCHIVES_GRANT
from consumers.store.errors import DamagedObjectError, ObjectGoneError
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

#: Notes that this stage makes.
_OWN = frozenset({NoteCode.NO_WORD_TIMES, NoteCode.UNHEARD_CHANNEL})

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


@dataclass(frozen=True, slots=True)
class _Channel:
    """A channel to be recognised.

    Attributes:
        task: Its recording's.
        file: Its recording's Opus object.
        index: From 0 on.
        name: For errors.
    """

    task: TranscriptionTask
    file: BinaryIO
    index: int
    name: str


class Transcribe(GroupedStage[TranscriptionTask, Transcript]):
    """Stores a transcript per recording; silent ones are settled without the recogniser."""

    _name = "transcribe"
    _activity = "transcribing"
    _absence = "recording is gone"
    _suffix = OPUS

    # Seconds of sound in one channel: an hour of samples takes 230 MB.
    _most = 3600.0

    def __init__(
        self,
        context: StageContext,
        *,
        recogniser: Recogniser,
        scratch: Scratch,
        group: int,
        skips_duplicates: bool = False,
    ) -> None:
        super().__init__(context, group)
        self._skips_duplicates = skips_duplicates
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
        return replace(task, document=self._copied(task)) if self._skips_duplicates else task

    def _copied(self, task: TranscriptionTask) -> Transcript | None:
        """Make the transcript of an earlier recording's of the same bytes; None if there is none.

        Raises:
            BusyError: That recording is yet to be transcribed.
        """
        original = self._database.transcribed_original(task.audio, task.properties.source_sha256)
        if original is None:
            return None
        if original.transcript_key is None:
            raise BusyError(
                f"{task.audio} has the bytes of {original.audio}, which is transcribed first"
            )
        try:
            data = self._store.read(original.transcript_key)
            transcript = Transcript.from_json(data, original.transcript_key)
        except (ObjectGoneError, MalformedDocumentError):
            return None
        if abs(transcript.duration - task.properties.duration) > _MISSING:
            # It was converted differently.
            return None
        own = (note for note in transcript.notes if note.code in _OWN)
        copied = Note(NoteCode.DUPLICATE, f"the transcript is that of {original.audio}")
        return structs.replace(
            transcript, audio_id=str(task.audio), notes=(*task.notes, *own, copied)
        )

    def _weight(self, task: TranscriptionTask) -> float:
        return task.properties.duration * task.properties.output_channels

    def _work(self, tasks: Sequence[TranscriptionTask]) -> dict[AudioId, Outcome]:
        results: dict[AudioId, list[Recognition]] = {task.audio: [] for task in tasks}
        unread: dict[AudioId, Outcome] = {}
        with ExitStack() as files:
            channels: list[_Channel] = []
            for task in tasks:
                try:
                    channels += self._channels(task, files)
                except (PermanentError, TransientError) as exc:
                    # The store's refusal says nothing about the recording.
                    unread[task.audio] = exc
            for portion in weighed_portions(
                channels, lambda channel: channel.task.properties.duration, self._most
            ):
                for channel, result in zip(portion, self._recognised(portion), strict=True):
                    results[channel.task.audio].append(result)
        return unread | {
            task.audio: self._finish_recognised(task, _joined(task, results[task.audio]))
            for task in tasks
            if task.audio not in unread
        }

    def _channels(self, task: TranscriptionTask, files: ExitStack) -> Iterator[_Channel]:
        """Fetch a recording, and list its channels."""
        with step(self._observer, "read"):
            file = cast("BinaryIO", files.enter_context(self._scratch.file()))
            self._store.download(task.audio.opus_key, file)
            file.seek(0)
            try:
                count = count_channels(file)
            except BadAudioError as exc:
                raise DamagedObjectError(task.audio.opus_key, str(exc)) from exc
        if count == 1:
            yield _Channel(task, file, 0, str(task.audio))
            return
        for index in range(count):
            yield _Channel(task, file, index, f"{task.audio} (channel {index + 1})")

    def _recognised(self, channels: Sequence[_Channel]) -> list[Recognition]:
        """Recognise channels together, and release their sound."""
        sounds: list[Waveform | TransientError] = []
        for _, of_one in groupby(channels, key=lambda channel: channel.task.audio):
            sounds += self._sounds(list(of_one))
        results = iter(self._hear([sound for sound in sounds if isinstance(sound, Waveform)]))
        return [
            _measured(next(results), sound) if isinstance(sound, Waveform) else sound
            for sound in sounds
        ]

    def _hear(self, waveforms: Sequence[Waveform]) -> Sequence[Recognition]:
        if not waveforms:
            return ()
        with step(self._observer, "hear"):
            return self._recogniser.transcribe(waveforms)

    def _sounds(self, channels: Sequence[_Channel]) -> Sequence[Waveform | TransientError]:
        """Decode channels of one recording in one pass."""
        task, file = channels[0].task, channels[0].file
        try:
            with step(self._observer, "read"):
                file.seek(0)
                sounds = decode_channels(file, [channel.index for channel in channels])
            _check_whole(task, min(map(len, sounds)) / SAMPLE_RATE)
        except BadAudioError as exc:
            return [DamagedObjectError(task.audio.opus_key, str(exc))] * len(channels)
        except TransientError as exc:
            return [exc] * len(channels)
        return [
            Waveform(channel.name, samples, has_turns=channel.name != str(task.audio))
            for channel, samples in zip(channels, sounds, strict=True)
        ]

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


def _joined(task: TranscriptionTask, results: Sequence[Recognition]) -> Recognition:
    """Join the results of a recording's channels.

    A channel that cannot be recognised is noted; if none can be, that is the recording's result.
    """
    if len(results) == 1:
        return results[0]
    for result in results:
        if isinstance(result, TransientError):
            return result
    heard = {n: each for n, each in enumerate(results, 1) if isinstance(each, Transcript)}
    if not heard:
        return results[0]
    failed = tuple(
        Note(NoteCode.UNHEARD_CHANNEL, f"channel {number} could not be recognised: {result}")
        for number, result in enumerate(results, 1)
        if isinstance(result, PermanentError)
    )
    joined = join_channels(str(task.audio), heard)
    return structs.replace(joined, notes=(*joined.notes, *failed))


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
