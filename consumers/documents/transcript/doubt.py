"""Doubtful passages: those whose words may be wrong, so a person should listen.

There are three signs, each with false alarms and misses: the recogniser's own uncertainty,
repetitive text, and words over silence.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

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
    """The limits beyond which a passage is doubtful.

    The first two are Whisper's (``logprob_threshold`` and ``compression_ratio_threshold`` in
    openai/whisper), beyond which it decodes again; WhisperX does not.

    Attributes:
        logprob: The lowest mean log probability per token.
        compression: The highest compression ratio by zlib.
        characters: The shortest text whose ratio is measured.
        seconds: The longest stretch of segments whose ratio is measured; Whisper decodes as
            much at a time.
        times: Repetitions in a row that make words doubtful ...
        words: ... if together they have at least so many words.
        silence_dbfs: The lowest RMS of the sound under words.
        gap: The most seconds between two signs of one passage.
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
    """A doubtful passage.

    Attributes:
        kind: ``unsure``: the recogniser was uncertain; ``loop``: the text is repetitive;
            ``silence``: there are words over silence.
        start: Seconds from the recording's start, within the recording.
        end: As ``start``.
        reason: The sign and its figures, for people; it quotes no word of the transcript.
        channel: Of the words; None in a recording with one channel.
    """

    kind: DoubtKind
    start: float
    end: float
    reason: str
    channel: int | None = None


_Sign = TypeVar("_Sign", Segment, RepeatedWords, Redundancy, RepeatedWords | Redundancy)


def doubts(transcript: Transcript, limits: DoubtLimits) -> list[Doubt]:
    """Find the doubtful passages of a transcript.

    Signs of one kind in one channel that follow each other are one passage. A passage beyond
    the longest is cut, as its beginning is enough to judge it; its reason has the whole length.

    Returns:
        By time; only passages of different kinds or channels overlap.
    """
    spoken = [segment for segment in transcript.segments if segment.text.strip()]
    spoken.sort(key=lambda segment: segment.start)
    found = [
        dataclasses.replace(doubt, channel=channel)
        for channel in {segment.channel for segment in spoken}
        for doubt in _of_one_channel(
            [segment for segment in spoken if segment.channel == channel],
            transcript.duration,
            limits,
        )
    ]
    found.sort(key=lambda doubt: (doubt.start, doubt.end, doubt.kind, doubt.channel or 0))
    return found


def _of_one_channel(
    segments: list[Segment], duration: float, limits: DoubtLimits
) -> Iterator[Doubt]:
    yield from _unsure(segments, duration, limits)
    yield from _looping(segments, duration, limits)
    yield from _over_silence(segments, duration, limits)


def _unsure(segments: list[Segment], duration: float, limits: DoubtLimits) -> Iterator[Doubt]:
    below = [
        segment
        for segment in segments
        if segment.avg_logprob is not None and segment.avg_logprob < limits.logprob
    ]
    for signs in _joined(below, duration, limits.gap):
        # Weighted by length; a segment of no length counts a little, too.
        lengths = [max(sign.end - sign.start, 0.001) for sign in signs]
        values = [sign.avg_logprob or 0.0 for sign in signs]
        mean = sum(map(operator.mul, lengths, values)) / sum(lengths)
        reason = f"low confidence: mean log probability {mean:.2f}"
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
        reason = f"repetitive text: {', '.join(figures)}"
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
        reason = f"words over silence: {level} (below {limits.silence_dbfs} dBFS)"
        yield _passage("silence", signs, reason, limits)


def _joined(signs: Iterable[_Sign], duration: float, gap: float) -> Iterator[list[_Sign]]:
    """Clamp signs to the recording, and group those that follow each other.

    A model's times occasionally exceed the recording.
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


def _passage(kind: DoubtKind, signs: Sequence[_Sign], reason: str, limits: DoubtLimits) -> Doubt:
    start, end = signs[0].start, max(sign.end for sign in signs)
    if end - start <= limits.passage:
        return Doubt(kind, start, end, reason)
    reason += f"; it goes on for {end - start:.0f} s, and this is its beginning"
    return Doubt(kind, start, start + limits.passage, reason)
