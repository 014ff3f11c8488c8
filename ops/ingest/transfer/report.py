"""The results of one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ops.ingest.transfer.source import FileVersion, shown


class TransferOutcome(StrEnum):
    """The outcome of a file or a pack; the values are part of ``--json``."""

    #: Confirmed by the store.
    SENT = "sent"
    #: Would be sent (``--dry-run``).
    NEW = "new"
    #: The same content was sent before, under another name.
    COPY = "copy"
    #: Modified so recently that it may still be incomplete.
    UNSETTLED = "unsettled"
    #: Changed while it was read; the next run tries again.
    CHANGED = "changed"
    #: Not readable, or not stored.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TransferResult:
    """The result of one file or pack.

    Attributes:
        outcome: The outcome.
        host: The machine.
        path: The file, or the folder of a pack's files.
        size: Bytes.
        files: The number of packed files; None for an archive.
        batch: The new batch.
        why: The reason, for people.
    """

    outcome: TransferOutcome
    host: str
    path: bytes
    size: int
    files: int | None = None
    batch: str | None = None
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; bytes of a path that are not UTF-8 are escaped."""
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
    """The results of a run, which only the event loop's thread changes.

    Attributes:
        entries: Files and packs.
        errors: Errors of hosts and sources, for people.
        notes: Remarks on sources without files, and on what was skipped.
        known: The number of files that the ledger had.
        fetched: Bytes that came over SSH.
        resumed: Bytes that an interrupted run had left here.
        is_dry: Whether nothing was sent.
    """

    entries: list[TransferResult] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    known: int = 0
    fetched: int = 0
    resumed: int = 0
    is_dry: bool = False

    def add_file(
        self, outcome: TransferOutcome, host: str, file: FileVersion, why: str | None = None
    ) -> None:
        """Add the result of one file."""
        self.entries.append(TransferResult(outcome, host, file.path, file.size, why=why))

    @property
    def is_success(self) -> bool:
        """Whether nothing failed."""
        return not self.errors and all(
            entry.outcome is not TransferOutcome.FAILED for entry in self.entries
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the report."""
        return {
            "dry_run": self.is_dry,
            "transfers": [entry.to_json() for entry in self.entries],
            "known": self.known,
            "bytes_fetched": self.fetched,
            "bytes_resumed": self.resumed,
            "notes": self.notes,
            "errors": self.errors,
        }
