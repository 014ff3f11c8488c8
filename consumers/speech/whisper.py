"""WhisperX as a recogniser: voice detection, transcription in full batches, word times.

WhisperX's own ``transcribe`` fills its batches from one recording, so that short recordings
leave them nearly empty. Here the stretches of speech of a whole group go through the model
together, one language at a time, and return to their recordings afterwards.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

import numpy as np

from consumers.documents.note import Note, NoteCode
from consumers.documents.transcript import Segment, Transcript
from consumers.errors import BadAudioError, PermanentError, TransientError, is_device_fault
from consumers.speech.alignment import Aligner
from consumers.speech.libraries import import_libraries
from consumers.speech.pipeline import Engine, load_pipeline
from consumers.speech.recogniser import (
    SAMPLE_RATE,
    Recognition,
    SampleArray,
    Waveform,
    recognition_error,
)
from consumers.speech.transcriber import WindowTranscriber
from consumers.speech.voice import BATCH, Stretch, VoiceDetector, merge_stretches
from consumers.speech.weights import find_whisper

_Error: TypeAlias = PermanentError | TransientError

# Seconds of silence between two turns of a speaker.
_TURN_PAUSE = 1.5


@dataclass(frozen=True, slots=True)
class _Heard:
    """A recording with speech: its place in the group, its stretches, and its language."""

    position: int
    waveform: Waveform
    stretches: list[Stretch]
    language: str
    probability: float | None

    def sounds(self) -> Iterator[SampleArray]:
        """Yield the samples of each stretch, without a copy."""
        for start, end in self.stretches:
            yield self.waveform.samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]


class WhisperXRecogniser:
    """A Whisper model, loaded once; it transcribes one group at a time, other callers wait.

    Nothing is downloaded if the model is local.
    """

    def __init__(
        self,
        model: str,
        models_root: Path,
        *,
        device: str = "auto",
        compute_type: str | None = None,
        batch_size: int = 16,
        threads: int = 4,
        on_batch: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Import WhisperX and load the model, which takes some ten seconds.

        Args:
            model: the ``WHISPER_MODEL`` setting (see ``consumers.speech.weights``).
            models_root: the folder of weights.
            device: ``cpu``, ``cuda``, or ``auto`` for the GPU if there is one.
            compute_type: CTranslate2's; by default int8 on a CPU and float16 on a GPU.
            batch_size: stretches per batch.
            threads: of the CPU.
            on_batch: called after each batch with its share of ``batch_size``, from 0 to 1.

        Raises:
            SpeechSetupError: a package, the weights or the device are missing or unsuitable.
        """
        weights = find_whisper(model, models_root)
        self._libraries = import_libraries()
        engine = Engine.chosen(device, compute_type, threads, self._libraries)
        pipeline = load_pipeline(self._libraries, weights, models_root, engine)
        self.name = weights.name
        self._batch_size = batch_size
        self._threads = threads
        self._on_batch = on_batch
        self._lock = threading.Lock()
        self._whisper = pipeline.model
        self._is_multilingual: bool = self._whisper.model.is_multilingual
        # The networks are small: threads that share one mostly wait for one another.
        self._executor = ThreadPoolExecutor(
            threads, "speech", self._libraries.torch.set_num_threads, (1,)
        )
        self._voice = VoiceDetector(
            pipeline.vad_model, self._libraries, self._executor, batch_size=BATCH[engine.device]
        )
        self._writer = WindowTranscriber(
            pipeline,
            self._libraries,
            self._executor,
            batch_size=batch_size,
            portions=engine.workers,
        )
        self._aligner = Aligner(self._libraries, models_root, engine.device)

    def transcribe(self, group: Sequence[Waveform]) -> Sequence[Recognition]:
        """Return one result per recording, in order; errors are returned, not raised."""
        with self._lock, warnings.catch_warnings(action="ignore"):
            # A setting of each thread; new threads inherit the latest.
            self._libraries.torch.set_num_threads(self._threads)
            outcomes: dict[int, Recognition] = {}
            heard: list[_Heard] = []
            for position, found in enumerate(self._listen(group)):
                if isinstance(found, _Heard):
                    heard.append(found)
                else:
                    outcomes[position] = found
            # A batch has one language.
            heard.sort(key=attrgetter("language"))
            for _, same_language in groupby(heard, attrgetter("language")):
                outcomes |= self._recognise(list(same_language))
        return [outcomes[position] for position in range(len(group))]

    def _listen(self, group: Sequence[Waveform]) -> Iterator[_Heard | Recognition]:
        """Find the speech and language of each recording."""
        faults = [_fault(waveform) for waveform in group]
        good = [each for each, fault in zip(group, faults, strict=True) if fault is None]
        found = iter(self._find_speech(good))
        stretches = [fault or next(found) for fault in faults]
        return self._executor.map(self._with_language, range(len(group)), group, stretches)

    def _find_speech(self, group: Sequence[Waveform]) -> list[list[Stretch] | _Error]:
        """Find the stretches of each recording; one by one if that fails for the group."""
        try:
            samples = [waveform.samples for waveform in group]
            pauses = [_TURN_PAUSE if waveform.has_turns else None for waveform in group]
            return [*self._voice.find_speech(samples, pauses)]
        except Exception as exc:
            if len(group) > 1 and not is_device_fault(exc):
                return [stretches for one in group for stretches in self._find_speech([one])]
            return [recognition_error(exc, waveform.audio_id) for waveform in group]

    def _with_language(
        self, position: int, waveform: Waveform, found: list[Stretch] | _Error
    ) -> _Heard | Recognition:
        """Detect the language of a recording with speech.

        Where no alignment will tell when which words are said, people's turns are kept apart:
        more and shorter windows, and words in their order among those of other channels.
        """
        if isinstance(found, Exception):
            return found
        if not found:
            return self._transcript(waveform, reason="no speech found")
        turns = found if waveform.has_turns else None
        merged = found if turns is None else merge_stretches(turns)
        heard = _Heard(position, waveform, merged, "en", None)
        if not self._is_multilingual:
            return self._in_turns(heard, turns)
        try:
            language, probability, _ = self._whisper.detect_language(audio=next(heard.sounds()))
        except Exception as exc:
            return recognition_error(exc, waveform.audio_id)
        heard = replace(heard, language=language, probability=float(probability))
        return self._in_turns(heard, turns)

    def _in_turns(self, heard: _Heard, turns: list[Stretch] | None) -> _Heard:
        if turns is None or self._aligner.has_model(heard.language):
            return heard
        return replace(heard, stretches=turns)

    def _recognise(self, heard: list[_Heard]) -> dict[int, Recognition]:
        """Transcribe recordings in one language; one by one if that fails for all."""
        try:
            spoken = self._segments(heard)
        except Exception as exc:
            if len(heard) > 1 and not is_device_fault(exc):
                return {k: v for one in heard for k, v in self._recognise([one]).items()}
            return {one.position: recognition_error(exc, one.waveform.audio_id) for one in heard}
        return {
            one.position: self._finish(one, segments)
            for one, segments in zip(heard, spoken, strict=True)
        }

    def _segments(self, heard: list[_Heard]) -> list[tuple[Segment, ...]]:
        """Transcribe all stretches, and return the segments of each recording."""
        sounds = [sound for one in heard for sound in one.sounds()]
        written = iter(self._writer.write(sounds, heard[0].language))
        spoken = [
            tuple(
                Segment(*stretch, text.words, text.avg_logprob, ())
                for stretch, text in zip(
                    one.stretches, islice(written, len(one.stretches)), strict=True
                )
                if text.words
            )
            for one in heard
        ]
        for ratio in _fills(len(sounds), self._batch_size):
            self._on_batch(ratio)
        return spoken

    def _finish(self, heard: _Heard, segments: tuple[Segment, ...]) -> Recognition:
        """Add word times, if the language has an alignment model."""
        waveform = heard.waveform
        spoken = _with_words(segments)
        wordless = len(segments) - len(spoken)
        if not spoken:
            reason = "speech found, but no words in it"
            notes = _wordless_note(wordless)
            return self._transcript(waveform, heard, reason=reason, notes=notes)
        try:
            aligned = self._aligner.align(waveform.samples, heard.language, spoken)
        except Exception as exc:
            return recognition_error(exc, waveform.audio_id)
        # Alignment makes segments of sentences, and some end in more than one full stop.
        sentences = _with_words(aligned.segments)
        wordless += len(aligned.segments) - len(sentences)
        return self._transcript(
            waveform,
            heard,
            sentences,
            alignment=aligned.model,
            notes=(*_wordless_note(wordless), *aligned.notes),
        )

    def _transcript(
        self,
        waveform: Waveform,
        heard: _Heard | None = None,
        segments: tuple[Segment, ...] = (),
        *,
        alignment: str | None = None,
        reason: str | None = None,
        notes: tuple[Note, ...] = (),
    ) -> Transcript:
        return Transcript(
            audio_id=waveform.audio_id,
            state="transcribed",
            reason=reason,
            duration=waveform.duration,
            language=heard.language if heard else None,
            language_probability=heard.probability if heard else None,
            model=self.name,
            alignment=alignment,
            segments=segments,
            notes=notes,
        )


def _with_words(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    return tuple(segment for segment in segments if segment.has_words)


def _wordless_note(count: int) -> tuple[Note, ...]:
    if not count:
        return ()
    captions = "1 caption" if count == 1 else f"{count} captions"
    return (Note(NoteCode.WORDLESS, f"{captions} without a letter or a digit left out"),)


def _fault(waveform: Waveform) -> _Error | None:
    """Return the error of unusable samples."""
    try:
        _check(waveform)
    except Exception as exc:
        return recognition_error(exc, waveform.audio_id)
    return None


def _check(waveform: Waveform) -> None:
    samples = waveform.samples
    if samples.dtype != np.float32 or samples.ndim != 1:
        raise BadAudioError(f"{waveform.audio_id} is not mono sound in 32-bit floats")
    if not len(samples):
        raise BadAudioError(f"{waveform.audio_id} is empty: it has no samples")
    # Minimum and maximum propagate NaN, and need no memory.
    if not np.isfinite(samples.min()) or not np.isfinite(samples.max()):
        raise BadAudioError(f"{waveform.audio_id} has samples that are not numbers")


def _fills(windows: int, batch_size: int) -> Iterator[float]:
    """Yield how full each batch of so many windows is, from 0 to 1."""
    for begin in range(0, windows, batch_size):
        yield min(1.0, (windows - begin) / batch_size)
