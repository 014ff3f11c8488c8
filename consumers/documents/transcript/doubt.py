"""Passages of a transcript that a person should hear, because the words may be wrong.

Three signs, each of which can be wrong in both directions: the recogniser's own
certainty, text that goes in circles, and words where there is no sound.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from msgspec.structs import replace

from consumers.documents.transcript.document import QUIETEST_DBFS, Segment, Transcript
from consumers.documents.transcript.repetition import (
    Redundancy,
    RepeatedWords,
    redundancies,
    repeated_words,
)

DoubtKind = Literal["unsure", "loop", "silence"]


@dataclass(frozen=True, slots=True)
class DoubtLimits:
    """Where doubt begins.

    The first two are Whisper's own (``logprob_threshold`` and
    ``compression_ratio_threshold`` in openai/whisper), by which it decides whether to
    try again; WhisperX never does.

    Attributes:
        logprob: Mean log probability per token; what is below is doubtful.
        compression: Ratio by zlib; what is above is doubtful.
        characters: Of the least text that a ratio is taken of.
        seconds: Of the longest stretch of segments that a ratio is taken of; Whisper hears
            so much at a time.
        times: Said so often in a row, the same words are doubtful.
        words: And together they must be so many.
        silence_dbfs: RMS; words over less sound are doubtful.
        gap: Seconds between two doubts of a kind that are still one passage.
        passage: Seconds of the longest passage.
    """

    logprob: float = -1.0
    compression: float = 2.4
    characters: int = 60
    seconds: float = 30.0
    times: int = 4
    words: int = 10
    silence_dbfs: float = -60.0
    gap: float = 2.0
    passage: float = 60.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """One passage.

    Attributes:
        kind: ``unsure``: the recogniser was not sure; ``loop``: the text goes in circles;
            ``silence``: there are words where nothing is to be heard.
        start: Seconds from the recording's start; within it, as is ``end``.
        end: See there.
        reason: The same with its figures, for people; no word of the transcript is in it.
    """

    kind: DoubtKind
    start: float
    end: float
    reason: str


class _Timed(Protocol):
    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...


_Sign = TypeVar("_Sign", Segment, RepeatedWords, Redundancy, RepeatedWords | Redundancy)


def doubts(transcript: Transcript, limits: DoubtLimits) -> list[Doubt]:
    """Find the doubtful passages of a transcript.

    Signs of one kind that follow each other are one passage. What is longer than
    a passage may be is cut there, for whoever hears its beginning can tell; the
    reason says how long it goes on.

    Returns:
        By time; passages of different kinds may overlap, those of one kind never do.
    """
    spoken = [segment for segment in transcript.segments if segment.text.strip()]
    spoken.sort(key=lambda segment: segment.start)
    found = [
        *_unsure(spoken, transcript.duration, limits),
        *_looping(spoken, transcript.duration, limits),
        *_over_silence(spoken, transcript.duration, limits),
    ]
    return sorted(found, key=lambda doubt: (doubt.start, doubt.end, doubt.kind))


def _unsure(segments: list[Segment], duration: float, limits: DoubtLimits) -> Iterator[Doubt]:
    below = [
        segment
        for segment in segments
        if segment.avg_logprob is not None and segment.avg_logprob < limits.logprob
    ]
    for signs in _joined(below, duration, limits.gap):
        # By length; a segment without any counts a little all the same.
        lengths = [max(sign.end - sign.start, 0.001) for sign in signs]
        values = [sign.avg_logprob or 0.0 for sign in signs]
        mean = sum(map(operator.mul, lengths, values)) / sum(lengths)
        reason = f"the recogniser was not sure: mean log probability {mean:.2f}"
        yield _passage("unsure", signs, f"{reason} (below {limits.logprob})", limits)


def _looping(segments: list[Segment], duration: float, limits: DoubtLimits) -> Iterator[Doubt]:
    found: list[RepeatedWords | Redundancy] = [
        *repeated_words(segments, times=limits.times, words=limits.words),
        *redundancies(
            segments,
            ratio=limits.compression,
            characters=limits.characters,
            seconds=limits.seconds,
        ),
    ]
    for signs in _joined(found, duration, limits.gap):
        figures = []
        if exact := [sign for sign in signs if isinstance(sign, RepeatedWords)]:
            most = max(exact, key=lambda loop: loop.times)
            words = "the same word" if most.words == 1 else f"the same {most.words} words"
            figures.append(f"{words} {most.times} times in a row")
        if ratios := [sign.ratio for sign in signs if isinstance(sign, Redundancy)]:
            figures.append(f"compression ratio {max(ratios):.2f} (above {limits.compression})")
        reason = f"the text goes in circles: {', '.join(figures)}"
        yield _passage("loop", signs, reason, limits)


def _over_silence(segments: list[Segment], duration: float, limits: DoubtLimits) -> Iterator[Doubt]:
    below = [
        segment
        for segment in segments
        if segment.loudness_dbfs is not None and segment.loudness_dbfs < limits.silence_dbfs
    ]
    for signs in _joined(below, duration, limits.gap):
        loudest = max(sign.loudness_dbfs or 0.0 for sign in signs)
        level = f"{loudest:.2f} dBFS" if loudest > QUIETEST_DBFS else "digital silence"
        reason = f"words where nothing is to be heard: {level} (below {limits.silence_dbfs} dBFS)"
        yield _passage("silence", signs, reason, limits)


def _joined(signs: Iterable[_Sign], duration: float, gap: float) -> Iterator[list[_Sign]]:
    """Hold signs within the recording, and group those that follow each other.

    A model's times now and then go beyond a recording's end.
    """
    held = []
    for sign in signs:
        start = min(max(0.0, sign.start), duration)
        held.append(replace(sign, start=start, end=min(max(start, sign.end), duration)))
    group: list[_Sign] = []
    end = 0.0
    for sign in sorted(held, key=lambda sign: sign.start):
        if group and sign.start - end > gap:
            yield group
            group = []
        end = max(end, sign.end) if group else sign.end
        group.append(sign)
    if group:
        yield group


def _passage(kind: DoubtKind, signs: Sequence[_Timed], reason: str, limits: DoubtLimits) -> Doubt:
    start, end = signs[0].start, max(sign.end for sign in signs)
    if end - start <= limits.passage:
        return Doubt(kind, start, end, reason)
    reason += f"; it goes on for {end - start:.0f} s, and this is its beginning"
    return Doubt(kind, start, start + limits.passage, reason)
