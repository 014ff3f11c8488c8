"""The manifest: what became of each member of an archive, written last.

JSON Lines: a head, then one line per member in the archive's order. The manifest seals the
batch: before it is stored, nobody knows how many recordings there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, ClassVar, Literal, get_args

import msgspec

from consumers.documents.audio_properties import AudioProperties
from consumers.documents.codec import BatchIdText, Count, Document, Time, decode, encode, read_lines
from consumers.documents.note import Note
from events.keys import BatchId

MemberOutcome = Literal["accepted", "rejected", "ignored"]

_NOUN = "the manifest"


@dataclass(frozen=True, slots=True)
class Archive:
    """A dropped archive, as the store describes it.

    Attributes:
        batch: The batch that it stands for.
        key: Its object's key.
        etag: Of its content.
        size: Bytes.
        original_name: The file's name before it was dropped.
        dropped_at: When it was stored.
    """

    batch: BatchId
    key: str
    etag: str
    size: int
    original_name: str | None
    dropped_at: datetime


class ManifestEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one member.

    Attributes:
        ordinal: Its position in the archive, from 0.
        path: Its name, safe to show.
        size: Bytes, as the archive declares.
        outcome: ``accepted`` (its Opus object is stored), ``rejected`` or ``ignored``.
        reason: Why it was rejected or ignored, for people. Early manifests have notes about
            accepted members here.
        facts: The properties of an accepted member's sound.
        notes: What is lost, guessed or doubtful.
        tags: What the recording says about itself, by FFmpeg's names; its chapters are
            ``chapter 1`` and so on. Values can hold any character but NUL.
        text: The content of a small text that may lie beside a recording, such as ``a.json``
            beside ``a.wav``. It can hold any character.
    """

    ordinal: Count = msgspec.field(name="n")
    path: str
    size: int
    outcome: MemberOutcome
    reason: str | None = None
    facts: AudioProperties | None = None
    notes: tuple[Note, ...] = ()
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    text: str | None = None


class ManifestHead(Document, frozen=True):
    """The manifest's first line.

    Attributes:
        batch_id: The archive's batch.
        archive_key: Its key.
        etag: Of its content.
        size: Bytes.
        original_name: The file's name before it was dropped.
        dropped_at: When it was stored.
        totals: Members by outcome.
        failure: Why the archive could not be read, or not to its end.
        moderated: Whether its recordings are checked against policies.
        notes: About the archive as a whole: parts that were not read, and how it was repaired.
    """

    NOUN: ClassVar[str] = _NOUN

    batch_id: BatchIdText
    archive_key: str
    etag: str
    size: Count
    original_name: str | None
    dropped_at: Time
    totals: dict[MemberOutcome, Count]
    failure: str | None
    moderated: bool = False
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        BatchId(self.batch_id)

    @property
    def archive(self) -> Archive:
        """The archive that was read."""
        return Archive(
            batch=BatchId(self.batch_id),
            key=self.archive_key,
            etag=self.etag,
            size=self.size,
            original_name=self.original_name,
            dropped_at=self.dropped_at,
        )


class ManifestWriter:
    """Collects entries in a file, then copies them behind the head.

    Memory does not grow with the archive.
    """

    def __init__(self, lines: BinaryIO) -> None:
        self._lines = lines
        self._totals: Counter[MemberOutcome] = Counter(dict.fromkeys(get_args(MemberOutcome), 0))

    def add(self, entry: ManifestEntry) -> None:
        """Add the next member's entry."""
        self._totals[entry.outcome] += 1
        self._lines.write(encode(entry) + b"\n")

    def finish(
        self,
        archive: Archive,
        failure: str | None,
        whole: BinaryIO,
        *,
        moderated: bool = False,
        notes: Sequence[Note] = (),
    ) -> ManifestHead:
        """Write the complete manifest to ``whole`` and rewind it.

        Args:
            archive: The batch's archive.
            failure: As in `ManifestHead`.
            whole: An empty file.
            moderated: As in `ManifestHead`.
            notes: As in `ManifestHead`.
        """
        head = ManifestHead(
            batch_id=str(archive.batch),
            archive_key=archive.key,
            etag=archive.etag,
            size=archive.size,
            original_name=archive.original_name,
            dropped_at=archive.dropped_at,
            totals=dict(self._totals),
            failure=failure,
            moderated=moderated,
            notes=tuple(notes),
        )
        whole.write(head.to_json())
        self._lines.seek(0)
        while chunk := self._lines.read(1 << 20):
            whole.write(chunk)
        whole.seek(0)
        return head


def read_manifest(file: BinaryIO) -> tuple[ManifestHead, Iterator[ManifestEntry]]:
    """Read a manifest's head, and its entries lazily.

    Raises:
        MalformedDocumentError: It is not a manifest; also while entries are read.
    """
    lines = read_lines(file, _NOUN)
    return ManifestHead.from_json(next(lines, b"")), (
        decode(line, ManifestEntry, _NOUN) for line in lines
    )
