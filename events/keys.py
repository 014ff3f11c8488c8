"""Ids and object keys; the keys alone show a batch's state.

=============================================================  ==============================
``archives/{batch_id}.tar``                                    the dropped archive
``processed/{date}/{batch_id}-{n}.opus``                       a recording
``processed/{date}/{batch_id}-{n}.transcript.json``            its transcript
``processed/{date}/{batch_id}-{n}.verdict.json``               the policies' verdict on it
``processed/{date}/{batch_id}-{n}.{from}-{to}.clip.ogg``       a passage for reviewers
``processed/{date}/{batch_id}-{n}.{from}-{to}-{c}.clip.ogg``   a passage in one channel
``processed/{date}/{batch_id}.manifest.jsonl``                 the manifest, which seals the batch
``processed/{date}/{batch_id}.complete.json``                  written after the last recording
``processed/{date}/{batch_id}.review.json``                    the items for reviewers
``processed/{date}/{batch_id}.{time}-{token}.decision.json``   a reviewer's decision
``policies/{name}/{version}.md``                               a policy used in verdicts
=============================================================  ==============================

Every key is a pure function of an id, which can be parsed from the key.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Self

ARCHIVES = "archives/"
PROCESSED = "processed/"
POLICIES = "policies/"

OPUS = ".opus"
TRANSCRIPT = ".transcript.json"
MANIFEST = ".manifest.jsonl"
COMPLETE = ".complete.json"
VERDICT = ".verdict.json"
CLIP = ".clip.ogg"
REVIEW = ".review.json"
DECISION = ".decision.json"

RECORDING_SUFFIXES = (OPUS, TRANSCRIPT, VERDICT)
BATCH_SUFFIXES = (MANIFEST, COMPLETE, REVIEW)

#: The largest ordinal of an `AudioId`, which has seven digits.
MAX_ORDINAL = 9_999_999

_BATCH = re.compile(r"(\d{8}-\d{6})-[0-9a-f]{6}", re.ASCII)
_AUDIO = re.compile(r"(\d{8}-\d{6}-[0-9a-f]{6})-(\d{7})", re.ASCII)
_PROCESSED = re.compile(
    r"processed/(\d{4}-\d{2}-\d{2})/([^/.]+)(?:\.(\d{9}-\d{9}(?:-[1-9]\d{0,2})?|\d{20}-[0-9a-f]{6}))?(\.[a-z.]+)",
    re.ASCII,
)

#: The largest time in a clip's key: eleven days.
_MAX_MILLISECONDS = 999_999_999
_MAX_CHANNEL = 999


class MalformedKeyError(ValueError):
    """A key or id was not made by dropscribe."""


@dataclass(frozen=True, slots=True, order=True)
class BatchId:
    """The id of one archive: ``YYYYMMDD-HHMMSS-xxxxxx`` (UTC, six hex digits).

    Raises:
        MalformedKeyError: ``value`` has another form, or names an impossible time.
    """

    value: str

    def __post_init__(self) -> None:
        match = _BATCH.fullmatch(self.value)
        if match is None:
            raise MalformedKeyError(
                f"{self.value!r} is not a batch id (like 20250622-143052-a1b2c3)"
            )
        try:
            _parse_time(match[1])
        except ValueError as exc:
            raise MalformedKeyError(f"batch id {self.value!r} has an invalid time: {exc}") from exc

    @classmethod
    def new(cls, now: datetime, token: bytes) -> Self:
        """Make an id for an archive dropped ``now``; ``token`` holds three random bytes."""
        return cls(f"{_format_time(now)}-{token[:3].hex()}")

    @classmethod
    def derived(cls, last_modified: datetime, key: str, etag: str) -> Self:
        """Make the id of an archive whose name holds none.

        The same object always gives the same id: it consists of the object's LastModified and
        of SHA-256 over key and ETag.
        """
        digest = hashlib.sha256(f"{key}\n{etag}".encode()).hexdigest()
        return cls(f"{_format_time(last_modified)}-{digest[:6]}")

    @property
    def time(self) -> datetime:
        """The time of the drop, to the second, in UTC."""
        return _parse_time(self.value[:15])

    @property
    def archive_key(self) -> str:
        """The key under which `drop` stores an archive of any format."""
        return f"{ARCHIVES}{self.value}.tar"

    @property
    def prefix(self) -> str:
        """The prefix of all of the batch's objects under ``processed/``."""
        return f"{PROCESSED}{self.time.date().isoformat()}/{self.value}"

    @property
    def manifest_key(self) -> str:
        """The object that seals the batch."""
        return self.prefix + MANIFEST

    @property
    def complete_key(self) -> str:
        """The object that announces the batch's completion."""
        return self.prefix + COMPLETE

    @property
    def review_key(self) -> str:
        """The object that lists the items for reviewers."""
        return self.prefix + REVIEW

    def decision_key(self, now: datetime, token: bytes) -> str:
        """The key of a decision made ``now``; ``token`` holds three random bytes."""
        utc = now.astimezone(UTC)
        stamp = f"{utc.year:04}{utc:%m%d%H%M%S%f}"
        return f"{self.prefix}.{stamp}-{token[:3].hex()}{DECISION}"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, order=True)
class AudioId:
    """The id of one recording: its batch and its member's position in the archive, from 0.

    Raises:
        MalformedKeyError: ``ordinal`` is negative, or has more than seven digits.
    """

    batch: BatchId
    ordinal: int

    def __post_init__(self) -> None:
        if not 0 <= self.ordinal <= MAX_ORDINAL:
            raise MalformedKeyError(f"ordinal {self.ordinal} must be from 0 to {MAX_ORDINAL}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``{batch_id}-{n}``.

        Raises:
            MalformedKeyError: ``text`` has another form.
        """
        match = _AUDIO.fullmatch(text)
        if match is None:
            raise MalformedKeyError(
                f"{text!r} is not an audio id (like 20250622-143052-a1b2c3-0000001)"
            )
        return cls(BatchId(match[1]), int(match[2]))

    @property
    def opus_key(self) -> str:
        """The recording itself."""
        return f"{self._prefix}{OPUS}"

    @property
    def transcript_key(self) -> str:
        """The recording's transcript."""
        return f"{self._prefix}{TRANSCRIPT}"

    @property
    def verdict_key(self) -> str:
        """The policies' verdict on the transcript."""
        return f"{self._prefix}{VERDICT}"

    def clip_key(self, start: float, end: float, channel: int | None = None) -> str:
        """The key of a passage for reviewers; the times are in seconds.

        Raises:
            MalformedKeyError: The times or the channel are invalid.
        """
        begin, stop = round(start * 1000), round(end * 1000)
        if not 0 <= begin <= stop <= _MAX_MILLISECONDS:
            raise MalformedKeyError(f"no clip goes from {start} to {end} seconds")
        if channel is not None and not 1 <= channel <= _MAX_CHANNEL:
            raise MalformedKeyError(f"no clip is of channel {channel}")
        which = "" if channel is None else f"-{channel}"
        return f"{self._prefix}.{begin:09}-{stop:09}{which}{CLIP}"

    @property
    def _prefix(self) -> str:
        return f"{self.batch.prefix}-{self.ordinal:07}"

    def __str__(self) -> str:
        return f"{self.batch}-{self.ordinal:07}"


@dataclass(frozen=True, slots=True)
class ArchiveKey:
    """A dropped archive; ``batch`` is None if the name holds no batch id."""

    key: str
    batch: BatchId | None


@dataclass(frozen=True, slots=True)
class RecordingKey:
    """An object of one recording; ``suffix`` is one of `RECORDING_SUFFIXES`."""

    audio: AudioId
    suffix: str


@dataclass(frozen=True, slots=True)
class BatchKey:
    """An object of a whole batch; ``suffix`` is one of `BATCH_SUFFIXES`."""

    batch: BatchId
    suffix: str


@dataclass(frozen=True, slots=True)
class ClipKey:
    """A passage of a recording, in milliseconds from its start.

    ``channel`` is counted from 1, and None for a passage of all channels.
    """

    audio: AudioId
    start: int
    end: int
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class DecisionKey:
    """A reviewer's decision in a batch; ``name`` is its time and token."""

    batch: BatchId
    name: str


ProcessedKey = RecordingKey | BatchKey | ClipKey | DecisionKey


def parse_key(key: str) -> ArchiveKey | ProcessedKey:
    """Parse an object's key.

    Raises:
        MalformedKeyError: It is neither under ``archives/`` nor a key that dropscribe writes
            under ``processed/``.
    """
    if key.startswith(ARCHIVES):
        return _parse_archive_key(key)
    match = _PROCESSED.fullmatch(key)
    if match is None:
        raise MalformedKeyError(f"{key!r} is not one of dropscribe's keys")
    date, stem, name, suffix = match.groups()
    parsed = _parse_named(stem, name, suffix) if name else _parse_plain(stem, suffix)
    if parsed is None:
        raise MalformedKeyError(f"{key!r} has an unknown suffix")
    if _batch_of(parsed).time.date().isoformat() != date:
        raise MalformedKeyError(f"{key!r} is under another date than its batch id's")
    return parsed


def known_key(key: str) -> ArchiveKey | ProcessedKey | None:
    """Parse an object's key; None for what `parse_key` refuses."""
    try:
        return parse_key(key)
    except MalformedKeyError:
        return None


def batch_of(key: str) -> BatchId | None:
    """Return the batch that an object's key names, if any."""
    parsed = known_key(key)
    return None if parsed is None else batch_in(parsed)


def batch_in(key: ArchiveKey | ProcessedKey) -> BatchId | None:
    """Return the batch of a parsed key; None for an archive whose name holds none."""
    return key.batch if isinstance(key, ArchiveKey) else _batch_of(key)


def _batch_of(key: ProcessedKey) -> BatchId:
    return key.audio.batch if isinstance(key, RecordingKey | ClipKey) else key.batch


def _parse_plain(stem: str, suffix: str) -> RecordingKey | BatchKey | None:
    if suffix in RECORDING_SUFFIXES:
        return RecordingKey(AudioId.parse(stem), suffix)
    if suffix in BATCH_SUFFIXES:
        return BatchKey(BatchId(stem), suffix)
    return None


def _parse_named(stem: str, name: str, suffix: str) -> ClipKey | DecisionKey | None:
    """Parse a key that also names a passage, or a time and token."""
    first, last, *channel = name.split("-")
    if suffix == CLIP and len(first) == len(last) and int(first) <= int(last):
        return ClipKey(AudioId.parse(stem), int(first), int(last), *map(int, channel))
    if suffix == DECISION and len(first) > len(last):
        return DecisionKey(BatchId(stem), name)
    return None


def _parse_archive_key(key: str) -> ArchiveKey:
    name = key.removeprefix(ARCHIVES)
    if not name or name.endswith("/"):
        raise MalformedKeyError(f"{key!r} names a folder, not an archive")
    try:
        return ArchiveKey(key, BatchId(name.partition(".")[0]))
    except MalformedKeyError:
        return ArchiveKey(key, None)


@lru_cache(maxsize=256)
def _parse_time(text: str) -> datetime:
    """Parse ``YYYYMMDD-HHMMSS``: strptime takes ten times as long.

    The cache serves keys of one batch, which come together.

    Raises:
        ValueError: There is no such time.
    """
    date = int(text[:4]), int(text[4:6]), int(text[6:8])
    return datetime(*date, int(text[9:11]), int(text[11:13]), int(text[13:]), tzinfo=UTC)


def _format_time(time: datetime) -> str:
    # strftime does not pad years before 1000.
    utc = time.astimezone(UTC)
    return f"{utc.year:04}{utc:%m%d-%H%M%S}"
