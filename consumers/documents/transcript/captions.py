r"""Captions from segments: SubRip (SRT) and WebVTT.

A cue has at most two lines of 42 characters, a size that subtitling guidelines share.
A cue begins and ends with its words where they have times; words without times share
the time between the others, by length. Cues of a recording with several channels name
theirs, and overlap where people talk at the same time.

The writers are ours: pysubs2 1.8 drops ``{...}`` and rewrites ``\N``, ``\n`` and ``\h`` in a
text, does not escape WebVTT, and ends at 100 hours.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from consumers.documents.transcript.document import Segment

LINE_LENGTH = 42
LINES_PER_CUE = 2
# Seconds of silence between two words that end a cue.
PAUSE = 2.0

WORD = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption: its times, in milliseconds, its lines, and its segment's channel."""

    start: int
    end: int
    lines: tuple[str, ...]
    channel: int | None


def srt(segments: Iterable[Segment]) -> str:
    """A SubRip file. The format has no escapes, so an arrow in the text is shortened."""
    blocks = []
    for number, cue in enumerate(cues(segments, label=channel_label), 1):
        times = f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}"
        lines = "\n".join(line.replace("-->", "->") for line in cue.lines)
        blocks.append(f"{number}\n{times}\n{lines}\n")
    return "\n".join(blocks)


def vtt(segments: Iterable[Segment]) -> str:
    """A WebVTT file (https://www.w3.org/TR/webvtt1/) with escaped text."""
    blocks = ["WEBVTT\n"]
    for cue in cues(segments):
        times = f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}"
        lines = "\n".join(cue.lines)
        lines = lines.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        if cue.channel is not None:
            lines = f"<v Channel {cue.channel}>{lines}"
        blocks.append(f"{times}\n{lines}\n")
    return "\n".join(blocks)


def _clock(milliseconds: int, point: str) -> str:
    """``HH:MM:SS,mmm``; both formats allow more than two digits of hours."""
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"


def channel_label(segment: Segment) -> str:
    """What a text begins with where there are several channels; otherwise nothing."""
    return "" if segment.channel is None else f"[channel {segment.channel}] "


def _no_label(_: Segment) -> str:
    return ""


def cues(segments: Iterable[Segment], label: Callable[[Segment], str] = _no_label) -> Iterator[Cue]:
    """Captions in order, each at least 1 ms long; those of one channel do not overlap.

    Args:
        segments: By start.
        label: Makes what the lines of a segment's captions begin with.
    """
    channels: dict[int | None, list[Segment]] = {}
    for segment in segments:
        channels.setdefault(segment.channel, []).append(segment)
    yield from heapq.merge(
        *(_channel_cues(each, label) for each in channels.values()),
        key=lambda cue: (cue.start, cue.channel or 0),
    )


def _channel_cues(segments: Iterable[Segment], label: Callable[[Segment], str]) -> Iterator[Cue]:
    clock = 0
    for segment in segments:
        begin = label(segment)
        for pieces in _pack(_timed(segment), begin):
            lines = tuple(_lines(pieces, begin))
            if lines:
                start = max(clock, round(pieces[0].start * 1000))
                end = max(piece.end for piece in pieces if not piece.text.isspace())
                clock = max(start + 1, round(end * 1000))
                yield Cue(start, clock, lines, segment.channel)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text that stays on one line, with the white space behind it."""

    text: str
    start: float
    end: float


def _timed(segment: Segment) -> Iterator[_Piece]:
    """The segment's text in timed pieces of at most a line's length."""
    clock = segment.start
    untimed: list[str] = []
    end = _Piece("", segment.end, segment.end)
    for piece in (*_pieces(segment), end):
        if isinstance(piece, str):
            untimed.append(piece)
            continue
        yield from _share(untimed, clock, max(clock, piece.start))
        yield from _share(_cut(piece.text), piece.start, piece.end)
        untimed, clock = [], piece.end


def _pieces(segment: Segment) -> Iterator[_Piece | str]:
    """The segment's whole text in order: timed words, and the rest as plain text.

    The words are looked up in the text because only the text shows where spaces belong:
    Japanese and Chinese have none between words.
    """
    position = 0
    for word in segment.words:
        found = segment.text.find(word.text, position)
        if not word.text or found < 0 or word.start is None or word.end is None:
            continue
        yield from _words(segment.text[position:found])
        position = found + len(word.text)
        yield _Piece(word.text, word.start, max(word.start, word.end))
    yield from _words(segment.text[position:])


def _words(text: str) -> Iterator[str]:
    for match in WORD.finditer(text):
        yield from _cut(match[0])


def _cut(text: str) -> list[str]:
    """Cut a text at the line's length, as a script without spaces has no words to break at."""
    return [text[i : i + LINE_LENGTH] for i in range(0, len(text), LINE_LENGTH)]


def _share(texts: list[str], start: float, end: float) -> Iterator[_Piece]:
    """Share a time among texts, by length."""
    total = sum(map(len, texts))
    position = 0
    for text in texts:
        begin = start + (end - start) * position / total
        position += len(text)
        yield _Piece(text, begin, start + (end - start) * position / total)


def _pack(pieces: Iterable[_Piece], label: str) -> Iterator[list[_Piece]]:
    """Fill each cue with as many pieces as its lines hold, without a long pause inside."""
    packed: list[_Piece] = []
    for piece in pieces:
        is_pause = piece.text.isspace() and piece.end - piece.start > PAUSE
        if packed and (is_pause or len(list(_lines([*packed, piece], label))) > LINES_PER_CUE):
            yield packed
            packed = []
        if packed or not piece.text.isspace():
            packed.append(piece)
    if packed:
        yield packed


def _lines(pieces: Iterable[_Piece], label: str) -> Iterator[str]:
    """The lines of label and pieces, broken between pieces, with single spaces."""
    line = label
    for piece in pieces:
        if len((line + piece.text).strip()) > LINE_LENGTH:
            yield " ".join(line.split())
            line = ""
        line += piece.text
    if line.strip():
        yield " ".join(line.split())
