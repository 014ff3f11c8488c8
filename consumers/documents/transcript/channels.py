"""One transcript of a recording whose channels were recognised one by one."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from consumers.documents.note import Note
from consumers.documents.transcript.document import Segment, Transcript


def join_channels(audio_id: str, channels: Mapping[int, Transcript]) -> Transcript:
    """Join the transcripts of a recording's channels.

    Args:
        audio_id: The recording's id.
        channels: At least one transcript, by the channel's number, counted from 1.

    Returns:
        The segments of all channels by time, with their channels. The language is the one that
        is spoken longest; where channels differ in it, each segment has its own.
    """
    main = max(channels.values(), key=_spoken)
    languages = {each.language for each in channels.values() if each.segments}
    segments = [
        replace(
            segment,
            channel=number,
            language=transcript.language if len(languages) > 1 else None,
        )
        for number, transcript in channels.items()
        for segment in transcript.segments
    ]
    return replace(
        main,
        audio_id=audio_id,
        reason=_joined({number: each.reason for number, each in channels.items()}),
        duration=max(each.duration for each in channels.values()),
        alignment=_named([each.alignment for each in channels.values()]),
        segments=tuple(sorted(segments, key=_place)),
        notes=_noted({number: each.notes for number, each in channels.items()}),
    )


def _noted(notes: Mapping[int, tuple[Note, ...]]) -> tuple[Note, ...]:
    """Return the notes that all channels have, and those of some with their numbers."""
    first, *others = notes.values()
    common = tuple(note for note in first if all(note in other for other in others))
    named = (
        replace(note, text=f"channel {number}: {note.text}")
        for number, each in notes.items()
        for note in each
        if note not in common
    )
    return (*common, *named)


def _spoken(transcript: Transcript) -> float:
    return sum(max(0.0, segment.end - segment.start) for segment in transcript.segments)


def _place(segment: Segment) -> tuple[float, int]:
    return segment.start, segment.channel or 0


def _joined(reasons: Mapping[int, str | None]) -> str | None:
    """Return the reason of all channels, or the reasons of some with their numbers."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    named = (f"channel {number}: {reason}" for number, reason in reasons.items() if reason)
    return "; ".join(named)


def _named(models: list[str | None]) -> str | None:
    return ", ".join(dict.fromkeys(filter(None, models))) or None
