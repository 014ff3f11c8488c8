"""Transcripts: the document, captions and plain text made of it, and doubts about it."""

from __future__ import annotations

from typing import Literal

from consumers.documents.transcript.captions import channel_label, srt, vtt
from consumers.documents.transcript.channels import join_channels
from consumers.documents.transcript.document import (
    QUIETEST_DBFS,
    Segment,
    Transcript,
    TranscriptState,
    Word,
)
from consumers.documents.transcript.doubt import Doubt, DoubtLimits, doubts
from consumers.documents.transcript.loudness import with_loudness

__all__ = [
    "QUIETEST_DBFS",
    "Doubt",
    "DoubtLimits",
    "Segment",
    "Transcript",
    "TranscriptFormat",
    "TranscriptState",
    "Word",
    "doubts",
    "join_channels",
    "render",
    "with_loudness",
]

TranscriptFormat = Literal["json", "srt", "vtt", "txt"]


def render(transcript: Transcript, format: TranscriptFormat) -> str:  # noqa: A002
    """Render a transcript as a text file.

    Plain text has one segment a line. Captions of a transcript without speech are empty.
    """
    match format:
        case "json":
            return transcript.to_json().decode()
        case "srt":
            return srt(transcript.segments)
        case "vtt":
            return vtt(transcript.segments)
        case "txt":
            return "".join(map(_line, transcript.segments))


def _line(segment: Segment) -> str:
    text = " ".join(segment.text.split())
    return f"{channel_label(segment)}{text}\n" if text else ""
