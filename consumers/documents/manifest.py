"""The manifest: what became of each member of an archive, written last.

JSON Lines: a head, then one line per member, in the archive's order. Its
presence seals the batch: until then nobody can know how many there are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Literal, Self, get_args

from consumers.database.rows import Archive, Recording
from consumers.documents.audio_properties import AudioProperties
from consumers.errors import PermanentError
from events.keys import AudioId, BatchId

VERSION = 1

MemberOutcome = Literal["accepted", "rejected", "ignored"]


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """What became of one member.

    Attributes:
        ordinal: Its position in the archive, from 0.
        path: Its name, safe to show.
        size: Bytes, as the archive declares.
        outcome: ``accepted`` (its Opus object is stored), ``rejected`` or ``ignored``.
        reason: Why, for people; for an accepted one what is to be known of it, or None.
        facts: Of an accepted one.
    """

    ordinal: int
    path: str
    size: int
    outcome: MemberOutcome
    reason: str | None = None
    facts: AudioProperties | None = None

    def recording(self, batch: BatchId) -> Recording | None:
        """Give the row that the entry stands for; None for an ignored member."""
        audio = AudioId(batch, self.ordinal)
        if self.outcome == "ignored":
            return None
        if self.facts is None:
            return Recording(audio, "rejected", self.path, self.reason)
        return converted(audio, self.path, self.facts, self.reason)

    def to_line(self) -> bytes:
        """Give the manifest's line."""
        document: dict[str, Any] = {
            "n": self.ordinal,
            "path": self.path,
            "size": self.size,
            "outcome": self.outcome,
        }
        if self.reason is not None:
            document["reason"] = self.reason
        if self.facts is not None:
            document["facts"] = self.facts.to_json()
        return _line(document)

    @classmethod
    def from_line(cls, document: dict[str, Any]) -> Self:
        """Read what `to_line` gave."""
        outcome = document["outcome"]
        if outcome not in get_args(MemberOutcome):
            raise ValueError(f"unknown outcome {outcome!r}")
        facts = document.get("facts")
        return cls(
            ordinal=document["n"],
            path=document["path"],
            size=document["size"],
            outcome=outcome,
            reason=document.get("reason"),
            facts=None if facts is None else AudioProperties.from_json(facts),
        )


@dataclass(frozen=True, slots=True)
class ManifestHead:
    """The manifest's first line.

    Attributes:
        archive: What was read.
        totals: How many members had which outcome.
        failure: Why the archive could not be read, or not to its end.
        moderated: Whether its recordings are checked against policies.
    """

    archive: Archive
    totals: dict[MemberOutcome, int]
    failure: str | None
    moderated: bool = False

    def to_line(self) -> bytes:
        """Give the manifest's line."""
        archive = self.archive
        return _line(
            {
                "version": VERSION,
                "batch_id": str(archive.batch),
                "archive_key": archive.key,
                "etag": archive.etag,
                "size": archive.size,
                "original_name": archive.original_name,
                "dropped_at": archive.dropped_at.isoformat(),
                "totals": self.totals,
                "failure": self.failure,
                "moderated": self.moderated,
            }
        )

    @classmethod
    def from_line(cls, document: dict[str, Any]) -> Self:
        """Read what `to_line` gave."""
        return cls(
            archive=Archive(
                batch=BatchId(document["batch_id"]),
                key=document["archive_key"],
                etag=document["etag"],
                size=document["size"],
                original_name=document["original_name"],
                dropped_at=datetime.fromisoformat(document["dropped_at"]),
            ),
            totals=document["totals"],
            failure=document["failure"],
            moderated=document.get("moderated", False),
        )


class ManifestWriter:
    """Collects entries in a file of the caller's, then puts the head before them.

    Nothing grows with the archive but that file.
    """

    def __init__(self, lines: BinaryIO) -> None:
        self._lines = lines
        self._totals: Counter[MemberOutcome] = Counter(dict.fromkeys(get_args(MemberOutcome), 0))

    def add(self, entry: ManifestEntry) -> None:
        """Add the next member's entry."""
        self._totals[entry.outcome] += 1
        self._lines.write(entry.to_line())

    def finish(
        self, archive: Archive, failure: str | None, whole: BinaryIO, *, moderated: bool = False
    ) -> ManifestHead:
        """Write head and entries to ``whole`` and rewind it."""
        head = ManifestHead(archive, dict(self._totals), failure, moderated)
        whole.write(head.to_line())
        self._lines.seek(0)
        while chunk := self._lines.read(1 << 20):
            whole.write(chunk)
        whole.seek(0)
        return head


def read_manifest(file: BinaryIO) -> tuple[ManifestHead, Iterator[ManifestEntry]]:
    """Read a manifest's head, and its entries as they are asked for.

    Raises:
        PermanentError: It is no manifest (now, or at a later entry).
    """
    with_head = iter(file)
    try:
        head = ManifestHead.from_line(json.loads(next(with_head)))
    except (StopIteration, ValueError, KeyError, TypeError) as exc:
        raise PermanentError(f"the manifest can't be read: {exc!r}") from exc
    return head, _entries(with_head)


def _entries(lines: Iterator[bytes]) -> Iterator[ManifestEntry]:
    for line in lines:
        try:
            yield ManifestEntry.from_line(json.loads(line))
        except (ValueError, KeyError, TypeError) as exc:
            raise PermanentError(f"the manifest can't be read: {exc!r}") from exc


def converted(
    audio: AudioId, path: str, facts: AudioProperties, note: str | None = None
) -> Recording:
    """Give the row of a recording whose Opus object is stored."""
    return Recording(
        audio=audio,
        state="converted",
        path=path,
        reason=note,
        duration=facts.duration,
        codec=facts.codec,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
        loudness_dbfs=facts.loudness_dbfs,
        source_sha256=facts.source_sha256,
        opus_key=audio.opus_key,
    )


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
