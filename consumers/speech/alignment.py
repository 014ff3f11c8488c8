"""Word times: a wav2vec2 model aligns each segment's text with its sound.

Alignment is a refinement: without it a transcript keeps its segments' times, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from consumers.documents.note import Note, NoteCode
from consumers.documents.transcript import Segment, Word
from consumers.errors import is_device_fault
from consumers.speech.libraries import SpeechLibraries
from consumers.speech.recogniser import SampleArray
from consumers.speech.weights import find_alignment

# A model with its metadata, as WhisperX's load_align_model returns and align takes them.
AlignModel: TypeAlias = tuple[Any, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Segments after alignment; ``model`` is None if there was none, for the reason in a note."""

    segments: tuple[Segment, ...]
    model: str | None
    notes: tuple[Note, ...] = ()


class CannotAlignError(Exception):
    """There are no word times, for the reason given."""


class Aligner:
    """Alignment models by language, each loaded at its first use and kept."""

    def __init__(self, libraries: SpeechLibraries, models_root: Path, device: str) -> None:
        self._libraries = libraries
        self._models_root = models_root
        self._device = device
        self._models: dict[str, AlignModel | CannotAlignError] = {}

    def has_model(self, language: str) -> bool:
        """Whether there is a model for a language; it may turn out not to load."""
        return find_alignment(language, self._models_root) is not None

    def align(
        self, samples: SampleArray, language: str, segments: tuple[Segment, ...]
    ) -> Alignment:
        """Find the words of one recording's segments, or note why there are none.

        Aligned segments are sentences: a segment of several is split.

        Raises:
            RuntimeError: the device failed, not the alignment.
        """
        try:
            model = self._model(language)
            self._check_sentence_data(language)
            aligned = self._aligned(samples, model, segments)
        except CannotAlignError as exc:
            why = f"{exc}: segment times only"
            return Alignment(segments, None, (Note(NoteCode.NO_WORD_TIMES, why),))
        return Alignment(aligned, f"align/{language}", tuple(_unaligned(aligned)))

    def _model(self, language: str) -> AlignModel:
        folder = find_alignment(language, self._models_root)
        if folder is None:
            raise CannotAlignError(f"no alignment model for {language!r}")
        if language not in self._models:
            self._models[language] = self._load(language, folder)
        model = self._models[language]
        if isinstance(model, CannotAlignError):
            raise model
        return model

    def _load(self, language: str, folder: Path) -> AlignModel | CannotAlignError:
        try:
            model: AlignModel = self._libraries.alignment.load_align_model(
                language, self._device, model_name=str(folder), model_cache_only=True
            )
        except Exception as exc:
            if is_device_fault(exc):
                raise
            # WhisperX raises a generic error while it handles the specific one.
            cause = exc.__context__ or exc
            return CannotAlignError(f"the alignment model {folder} cannot be loaded ({cause})")
        return model

    def _check_sentence_data(self, language: str) -> None:
        """Ensure that the sentence data is there: WhisperX would download it."""
        name = self._libraries.punkt_languages.get(language, "english")
        nltk_data = self._models_root / "nltk_data"
        # NLTK's search path belongs to the process; only this folder may be used.
        self._libraries.nltk_data.path[:] = [str(nltk_data)]
        try:
            self._libraries.nltk_data.load(f"tokenizers/punkt_tab/{name}.pickle")
        except (LookupError, OSError, ValueError) as exc:
            folder = nltk_data / "tokenizers" / "punkt_tab" / name
            raise CannotAlignError(f"no sentence data for alignment in {folder}") from exc

    def _aligned(
        self, samples: SampleArray, model: AlignModel, segments: tuple[Segment, ...]
    ) -> tuple[Segment, ...]:
        given = [
            {"start": s.start, "end": s.end, "text": s.text, "avg_logprob": s.avg_logprob}
            for s in segments
        ]
        try:
            result = self._libraries.alignment.align(given, *model, samples, self._device)
        except Exception as exc:
            if is_device_fault(exc):
                raise
            raise CannotAlignError(f"alignment failed ({type(exc).__name__}: {exc})") from exc
        aligned = tuple(map(_segment, result["segments"]))
        # WhisperX groups sentences by their times, and drops one without.
        if _letters(aligned) != _letters(segments):
            raise CannotAlignError("alignment lost a part of the text")
        if not any(segment.words for segment in aligned):
            raise CannotAlignError("no segment could be aligned")
        return aligned


def _segment(item: Mapping[str, Any]) -> Segment:
    return Segment(
        start=float(item["start"]),
        end=float(item["end"]),
        text=item["text"].strip(),
        avg_logprob=_number(item.get("avg_logprob")),
        words=tuple(map(_word, item["words"])),
    )


def _word(item: Mapping[str, Any]) -> Word:
    return Word(
        item["word"],
        _number(item.get("start")),
        _number(item.get("end")),
        _number(item.get("score")),
    )


def _number(value: float | None) -> float | None:
    """Convert a NumPy number; NaN is pandas' missing value."""
    return None if value is None or math.isnan(value) else float(value)


def _unaligned(segments: Sequence[Segment]) -> Iterator[Note]:
    without = [segment for segment in segments if not segment.words]
    if without:
        why = f"{len(without)} of {len(segments)} segments could not be aligned"
        yield Note(NoteCode.NO_WORD_TIMES, why, without[0].start, without[-1].end)


def _letters(segments: Sequence[Segment]) -> str:
    return "".join("".join(segment.text.split()) for segment in segments)
