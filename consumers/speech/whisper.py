"""WhisperX as a recogniser: voice detection, words in full batches, word times.

WhisperX's own ``transcribe`` fills its batches from one recording, and so runs
nearly empty ones on short recordings. Here the stretches of speech of a whole
group go through the model together, a language at a time, and are put back
with their recordings afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.errors import BadAudioError
from consumers.observer import SILENT, Observer
from consumers.speech.alignment import Aligner
from consumers.speech.faults import as_outcome, is_device_fault
from consumers.speech.libraries import import_libraries, quiet
from consumers.speech.loading import Engine, load_pipeline
from consumers.speech.models import find_whisper
from consumers.speech.recogniser import SAMPLE_RATE, Outcome, Waveform
from consumers.speech.voice import Stretch, find_speech
from consumers.transcript import Segment, Transcript


@dataclass(frozen=True, slots=True)
class _Heard:
    """A recording in which there is speech: where (in seconds), and in which language."""

    position: int
    waveform: Waveform
    stretches: list[Stretch]
    language: str
    probability: float | None

    def sounds(self) -> Iterator[NDArray[np.float32]]:
        """Views of the samples, a stretch each."""
        for start, end in self.stretches:
            yield self.waveform.samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]


class WhisperXRecogniser:
    """A Whisper model, loaded once.

    WhisperX's pipeline keeps the language of its batch as its own state, so one
    thread recognises at a time; others wait. Nothing is downloaded where the model
    is local.
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
        observer: Observer = SILENT,
    ) -> None:
        """Import WhisperX and load the model: some ten seconds.

        Args:
            model: the ``WHISPER_MODEL`` setting (see ``consumers.speech.models``).
            models_root: the folder of weights.
            device: ``cpu``, ``cuda``, or ``auto`` for the GPU if there is one.
            compute_type: CTranslate2's, by default int8 on the CPU and float16 on a GPU.
            batch_size: stretches of up to 30 seconds that go through the model at once.
            threads: of the CPU, for the model.
            observer: is told how full batches are.

        Raises:
            SpeechSetupError: a package, the weights or the device are missing or wrong.
        """
        weights = find_whisper(model, models_root)
        self._libraries = import_libraries()
        engine = Engine.chosen(device, compute_type, threads, self._libraries)
        self._pipeline = load_pipeline(self._libraries, weights, models_root, engine)
        self._name = weights.name
        self._batch_size = batch_size
        self._observer = observer
        self._lock = threading.Lock()
        self._whisper = self._pipeline.model
        self._is_multilingual: bool = self._whisper.model.is_multilingual
        self._aligner = Aligner(self._libraries, models_root, engine.device)

    @property
    def name(self) -> str:
        """The model's name, as it is stored with each transcript."""
        return self._name

    def transcribe(self, group: Sequence[Waveform]) -> Sequence[Outcome]:
        """One outcome per recording, in the group's order; errors are returned, not raised."""
        with self._lock, quiet():
            outcomes: dict[int, Outcome] = {}
            heard: list[_Heard] = []
            for position, waveform in enumerate(group):
                found = self._listen(position, waveform)
                if isinstance(found, _Heard):
                    heard.append(found)
                else:
                    outcomes[position] = found
            # Sorting is stable, and a batch has one language.
            heard.sort(key=attrgetter("language"))
            for _, same_language in groupby(heard, attrgetter("language")):
                outcomes |= self._recognise(list(same_language))
        return [outcomes[position] for position in range(len(group))]

    def _listen(self, position: int, waveform: Waveform) -> _Heard | Outcome:
        """Where there is speech in one recording, and its language."""
        try:
            _check(waveform)
            stretches = find_speech(self._pipeline.vad_model, waveform.samples)
            if not stretches:
                return self._transcript(waveform, reason="no speech found")
            heard = _Heard(position, waveform, stretches, "en", None)
            if not self._is_multilingual:
                return heard
            language, probability, _ = self._whisper.detect_language(audio=next(heard.sounds()))
            return _Heard(position, waveform, stretches, language, float(probability))
        except Exception as exc:
            return as_outcome(exc, waveform.audio_id)

    def _recognise(self, heard: list[_Heard]) -> dict[int, Outcome]:
        """Transcripts of recordings in one language; one by one where they fail together."""
        try:
            spoken = self._segments(heard)
        except Exception as exc:
            if len(heard) > 1 and not is_device_fault(exc):
                return {k: v for one in heard for k, v in self._recognise([one]).items()}
            return {one.position: as_outcome(exc, one.waveform.audio_id) for one in heard}
        return {
            one.position: self._finish(one, segments)
            for one, segments in zip(heard, spoken, strict=True)
        }

    def _segments(self, heard: list[_Heard]) -> list[tuple[Segment, ...]]:
        """What the model writes for all stretches, put back with their recordings."""
        self._pipeline.tokenizer = self._libraries.tokenizer(
            self._whisper.hf_tokenizer,
            self._is_multilingual,
            task="transcribe",
            language=heard[0].language,
        )
        sounds = ({"inputs": sound} for one in heard for sound in one.sounds())
        # No workers: the samples would be copied to processes of their own.
        written = iter(self._pipeline(sounds, batch_size=self._batch_size, num_workers=0))
        spoken = [
            tuple(
                segment
                for stretch, output in zip(
                    one.stretches, islice(written, len(one.stretches)), strict=True
                )
                if (segment := _segment(stretch, output)).text
            )
            for one in heard
        ]
        for ratio in _fills(sum(len(one.stretches) for one in heard), self._batch_size):
            self._observer.model_filled(ratio)
        return spoken

    def _finish(self, heard: _Heard, segments: tuple[Segment, ...]) -> Outcome:
        """Word times, where the language has an alignment model."""
        waveform = heard.waveform
        if not segments:
            return self._transcript(waveform, heard, reason="speech found, but no words in it")
        try:
            aligned = self._aligner.align(waveform.samples, heard.language, segments)
        except Exception as exc:
            return as_outcome(exc, waveform.audio_id)
        return self._transcript(
            waveform, heard, aligned.segments, alignment=aligned.model, reason=aligned.reason
        )

    def _transcript(
        self,
        waveform: Waveform,
        heard: _Heard | None = None,
        segments: tuple[Segment, ...] = (),
        *,
        alignment: str | None = None,
        reason: str | None = None,
    ) -> Transcript:
        return Transcript(
            audio_id=waveform.audio_id,
            state="transcribed",
            reason=reason,
            duration=waveform.duration,
            language=heard.language if heard else None,
            language_probability=heard.probability if heard else None,
            model=self._name,
            alignment=alignment,
            segments=segments,
        )


def _check(waveform: Waveform) -> None:
    samples = waveform.samples
    if samples.dtype != np.float32 or samples.ndim != 1:
        raise BadAudioError(f"{waveform.audio_id} is not mono sound in 32-bit floats")
    if not len(samples):
        raise BadAudioError(f"{waveform.audio_id} is empty: it has no samples")
    # NaN passes through both, and neither needs memory.
    if not np.isfinite(samples.min()) or not np.isfinite(samples.max()):
        raise BadAudioError(f"{waveform.audio_id} has samples that are no numbers")


def _fills(windows: int, batch_size: int) -> Iterator[float]:
    """Give how full the batches are that so many windows make, of 1."""
    for begin in range(0, windows, batch_size):
        yield min(1.0, (windows - begin) / batch_size)


def _segment(stretch: Stretch, output: dict[str, Any]) -> Segment:
    text, avg_logprob = output["text"], output["avg_logprob"]
    # The pipeline takes batches apart, but not those of one.
    if isinstance(text, list):
        text, avg_logprob = text[0], avg_logprob[0]
    # PostgreSQL's text and jsonb cannot hold NUL, which is one of Whisper's tokens.
    text = text.replace("\0", "").strip()
    return Segment(*stretch, text, float(avg_logprob), ())
