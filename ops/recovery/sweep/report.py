"""What a sweep found: the number of each discrepancy, and the first names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

#: The most names to keep of each discrepancy, so that a report stays small.
_NAMES = 20


class Discrepancy(StrEnum):
    """A difference between the bucket and the rows; the values are part of ``--json``.

    Attributes:
        what: The discrepancy, for people.
        deed: What the sweep did, or what an operator can do.
        is_repaired: Whether the sweep repairs it.
        is_lost: Whether something is lost that a sweep cannot restore.
    """

    what: str
    deed: str
    is_repaired: bool
    is_lost: bool

    def __new__(cls, value: str, what: str, deed: str, outcome: str = "repaired") -> Self:
        """Make one whose outcome is ``repaired``, ``remarked`` or ``lost``."""
        self = str.__new__(cls, value)
        self._value_, self.what, self.deed = value, what, deed
        self.is_repaired, self.is_lost = outcome == "repaired", outcome == "lost"
        return self

    ARCHIVE_UNTOLD = "archive-untold", "archive stored, event lost", "sent to unpack"
    ARCHIVE_UNDONE = "archive-undone", "archive not unpacked", "sent to unpack again"
    ARCHIVE_UNMARKED = "archive-unmarked", "archive of a complete batch not tagged", "tagged"
    RECORDING_UNTOLD = "recording-untold", "recording stored, event lost", "sent to transcribe"
    RECORDING_UNDONE = "recording-undone", "recording not transcribed", "sent to transcribe again"
    TRANSCRIPT_UNRECORDED = (
        "transcript-unrecorded",
        "transcript without a row",
        "sent to transcribe again",
    )
    TRANSCRIPT_UNTOLD = "transcript-untold", "transcript not moderated", "sent to moderate"
    VERDICT_UNRECORDED = "verdict-unrecorded", "verdict without a row", "sent to moderate again"
    BATCH_UNRECORDED = "batch-unrecorded", "batch without rows", "rebuilt"
    BATCH_UNCOMPLETED = "batch-uncompleted", "batch done, not completed", "completed"
    BATCH_UNANNOUNCED = "batch-unannounced", "batch completed, not announced", "announced"
    ANNOUNCEMENT_GONE = "announcement-gone", "complete.json gone", "written again"
    BATCH_UNITEMISED = "batch-unitemised", "complete batch without review items", "sent to review"
    WAITING = "waiting", "sent again a while ago, not done", "waits in its queue", "remarked"
    DEAD = (
        "dead",
        "stuck, and recorded as such",
        "see dropscribe status BATCH; dropscribe dead list, or reprocess BATCH",
        "remarked",
    )
    FOREIGN = "foreign", "object that is not dropscribe's", "left alone", "remarked"
    ARCHIVE_COPY = "archive-copy", "another copy of a batch's archive", "left alone", "remarked"
    ARCHIVE_GONE = (
        "archive-gone",
        "archive gone before it was unpacked",
        "drop it again; dropscribe rebuild BATCH deletes the rows",
        "lost",
    )
    ARCHIVE_OVERWRITTEN = (
        "archive-overwritten",
        "archive overwritten with other content",
        "drop the new content as a new batch",
        "lost",
    )
    ARCHIVE_FOLDER = (
        "archive-folder",
        "content under a key that ends in '/'",
        "copy it to a key that does not",
        "lost",
    )
    OPUS_GONE = (
        "opus-gone",
        "row without its Opus object",
        "dropscribe reprocess BATCH --from unpack",
        "lost",
    )
    TRANSCRIPT_GONE = (
        "transcript-gone",
        "row without its transcript",
        "dropscribe reprocess BATCH --only AUDIO_ID",
        "lost",
    )
    VERDICT_GONE = (
        "verdict-gone",
        "row without its verdict",
        "dropscribe reprocess BATCH --from moderate --only AUDIO_ID",
        "lost",
    )
    MANIFEST_GONE = (
        "manifest-gone",
        "batch without its manifest",
        "dropscribe reprocess BATCH --from unpack",
        "lost",
    )
    FAILED = "failed", "not checked, or not repaired", "see the name for the error", "lost"


@dataclass(slots=True)
class DiscrepancyCount:
    """How often a discrepancy was found and repaired, and the first names."""

    found: int = 0
    done: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SweepReport:
    """What one sweep found and did.

    Attributes:
        is_dry: Whether nothing was repaired.
        ended_early: Whether the sweep was stopped before its end.
        archives: The number that was compared.
        objects: The number under ``processed/`` that was compared.
        depths: The number of messages in each route's queue after the sweep.
    """

    is_dry: bool = False
    ended_early: bool = False
    archives: int = 0
    objects: int = 0
    depths: dict[str, int] = field(default_factory=dict)
    tallies: dict[Discrepancy, DiscrepancyCount] = field(default_factory=dict)

    def add(self, kind: Discrepancy, name: str, *, is_done: bool = False) -> None:
        """Count one discrepancy."""
        tally = self.tallies.setdefault(kind, DiscrepancyCount())
        tally.found += 1
        tally.done += is_done
        if len(tally.names) < _NAMES:
            tally.names.append(name)

    @property
    def is_lossless(self) -> bool:
        """Whether nothing is lost."""
        return not any(kind.is_lost for kind in self.tallies)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the report."""
        return {
            "dry_run": self.is_dry,
            "ended_early": self.ended_early,
            "archives": self.archives,
            "objects": self.objects,
            "found": {str(kind): asdict(tally) for kind, tally in self.tallies.items()},
            "queues": self.depths,
            "lossless": self.is_lossless,
        }
