"""What became of the files of one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ops.ingest.transfer.source import shown


class TransferOutcome(StrEnum):
    """What became of a file, or of a pack of files."""

    #: The store has confirmed it.
    SENT = "sent"
    #: It would be sent (``--dry-run``).
    NEW = "new"
    #: Its content was sent before, under another name.
    COPY = "copy"
    #: It was changed so lately that it may still be written to.
    UNSETTLED = "unsettled"
    #: It was changed while it was read: the next run looks at it again.
    CHANGED = "changed"
    #: It could not be read, or not be stored.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TransferResult:
    """A line of the report.

    Attributes:
        outcome: What became of it.
        host: The machine.
        path: The file, or the folder of a pack's files.
        size: Bytes.
        files: How many were packed; None for a file that is no pack.
        batch: The batch that it is.
        why: What there is to say.
    """

    outcome: TransferOutcome
    host: str
    path: bytes
    size: int
    files: int | None = None
    batch: str | None = None
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give what ``--json`` says; of a path that is no UTF-8, what can be read of it."""
        return {
            "outcome": self.outcome,
            "host": self.host,
            "path": self.path.decode("utf-8", "backslashreplace"),
            "size": self.size,
            "files": self.files,
            "batch_id": self.batch,
            "why": self.why,
        }

    def __str__(self) -> str:
        what = f"{self.host}:{shown(self.path)}"
        if self.files is not None:
            what += f" ({self.files} {'file' if self.files == 1 else 'files'})"
        said = ": " + self.why if self.why else ""
        return f"{self.batch or self.outcome}  {what}{said}"


@dataclass(slots=True)
class TransferReport:
    """All that a run did. Changed by its one thread of asyncio alone.

    Attributes:
        entries: Files and packs.
        errors: What is wrong with hosts and sources, for people.
        notes: Sources that mean nothing now, and what was left out of them.
        known: Files that were sent, or written down, before.
        fetched: Bytes that came over SSH.
        resumed: Bytes that an interrupted run had left here.
        is_dry: Whether it only looked.
    """

    entries: list[TransferResult] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    known: int = 0
    fetched: int = 0
    resumed: int = 0
    is_dry: bool = False

    def add(self, entry: TransferResult) -> None:
        """Add a line."""
        self.entries.append(entry)

    def count(self, outcome: TransferOutcome) -> int:
        """Say how many files or packs had an outcome."""
        return sum(entry.outcome is outcome for entry in self.entries)

    @property
    def is_success(self) -> bool:
        """Whether all was sent that can be."""
        return not self.errors and not self.count(TransferOutcome.FAILED)

    def to_json(self) -> dict[str, Any]:
        """Give what ``--json`` prints."""
        return {
            "dry_run": self.is_dry,
            "transfers": [entry.to_json() for entry in self.entries],
            "known": self.known,
            "bytes_fetched": self.fetched,
            "bytes_resumed": self.resumed,
            "notes": self.notes,
            "errors": self.errors,
        }
