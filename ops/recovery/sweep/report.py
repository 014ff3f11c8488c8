"""What a sweep found: the number of each discrepancy, and the first names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: The most names to keep of each discrepancy, so that a report stays small.
_NAMES = 20


class Discrepancy(StrEnum):
    """A difference between the bucket and the rows; the values are part of ``--json``."""

    ARCHIVE_UNTOLD = "archive-untold"
    ARCHIVE_UNDONE = "archive-undone"
    ARCHIVE_UNMARKED = "archive-unmarked"
    RECORDING_UNTOLD = "recording-untold"
    RECORDING_UNDONE = "recording-undone"
    TRANSCRIPT_UNRECORDED = "transcript-unrecorded"
    TRANSCRIPT_UNTOLD = "transcript-untold"
    VERDICT_UNRECORDED = "verdict-unrecorded"
    BATCH_UNRECORDED = "batch-unrecorded"
    BATCH_UNCOMPLETED = "batch-uncompleted"
    BATCH_UNANNOUNCED = "batch-unannounced"
    ANNOUNCEMENT_GONE = "announcement-gone"
    BATCH_UNITEMISED = "batch-unitemised"
    WAITING = "waiting"
    DEAD = "dead"
    FOREIGN = "foreign"
    ARCHIVE_COPY = "archive-copy"
    ARCHIVE_GONE = "archive-gone"
    ARCHIVE_OVERWRITTEN = "archive-overwritten"
    OPUS_GONE = "opus-gone"
    TRANSCRIPT_GONE = "transcript-gone"
    VERDICT_GONE = "verdict-gone"
    MANIFEST_GONE = "manifest-gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a discrepancy means, and what is done about it.

    Attributes:
        what: The discrepancy, for people.
        deed: What the sweep did, or what an operator can do.
        is_repaired: Whether the sweep repairs it.
        is_lost: Whether something is lost that a sweep cannot restore.
    """

    what: str
    deed: str
    is_repaired: bool = True
    is_lost: bool = False


def _remark(what: str, deed: str) -> Remedy:
    return Remedy(what, deed, is_repaired=False)


def _loss(what: str, deed: str) -> Remedy:
    return Remedy(what, deed, is_repaired=False, is_lost=True)


REMEDIES: Mapping[Discrepancy, Remedy] = {
    Discrepancy.ARCHIVE_UNTOLD: Remedy("archive stored, event lost", "sent to unpack"),
    Discrepancy.ARCHIVE_UNDONE: Remedy("archive not unpacked", "sent to unpack again"),
    Discrepancy.ARCHIVE_UNMARKED: Remedy("archive of a complete batch not tagged", "tagged"),
    Discrepancy.RECORDING_UNTOLD: Remedy("recording stored, event lost", "sent to transcribe"),
    Discrepancy.RECORDING_UNDONE: Remedy("recording not transcribed", "sent to transcribe again"),
    Discrepancy.TRANSCRIPT_UNRECORDED: Remedy(
        "transcript without a row", "sent to transcribe again"
    ),
    Discrepancy.TRANSCRIPT_UNTOLD: Remedy("transcript not moderated", "sent to moderate"),
    Discrepancy.VERDICT_UNRECORDED: Remedy("verdict without a row", "sent to moderate again"),
    Discrepancy.BATCH_UNRECORDED: Remedy("batch without rows", "rebuilt"),
    Discrepancy.BATCH_UNCOMPLETED: Remedy("batch done, not completed", "completed"),
    Discrepancy.BATCH_UNANNOUNCED: Remedy("batch completed, not announced", "announced"),
    Discrepancy.ANNOUNCEMENT_GONE: Remedy("complete.json gone", "written again"),
    Discrepancy.BATCH_UNITEMISED: Remedy("complete batch without review items", "sent to review"),
    Discrepancy.WAITING: _remark("sent again a while ago, not done", "waits in its queue"),
    Discrepancy.DEAD: _remark(
        "stuck, and recorded as such",
        "see dropscribe status BATCH; dropscribe dead list, or reprocess BATCH",
    ),
    Discrepancy.FOREIGN: _remark("object that is not dropscribe's", "left alone"),
    Discrepancy.ARCHIVE_COPY: _remark("another copy of a batch's archive", "left alone"),
    Discrepancy.ARCHIVE_GONE: _loss(
        "archive gone before it was unpacked",
        "drop it again; dropscribe rebuild BATCH deletes the rows",
    ),
    Discrepancy.ARCHIVE_OVERWRITTEN: _loss(
        "archive overwritten with other content", "drop the new content as a new batch"
    ),
    Discrepancy.OPUS_GONE: _loss(
        "row without its Opus object", "dropscribe reprocess BATCH --from unpack"
    ),
    Discrepancy.TRANSCRIPT_GONE: _loss(
        "row without its transcript", "dropscribe reprocess BATCH --only AUDIO_ID"
    ),
    Discrepancy.VERDICT_GONE: _loss(
        "row without its verdict", "dropscribe reprocess BATCH --from moderate --only AUDIO_ID"
    ),
    Discrepancy.MANIFEST_GONE: _loss(
        "batch without its manifest", "dropscribe reprocess BATCH --from unpack"
    ),
    Discrepancy.FAILED: _loss("not checked, or not repaired", "see the name for the error"),
}


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
        archives: The number of archives that were compared.
        objects: The number of objects under ``processed/`` that were compared.
        depths: The number of messages in each route's queue after the sweep.
        tallies: The counts of each discrepancy.
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

    def found(self, kind: Discrepancy) -> int:
        """Return the number of one discrepancy."""
        return self.tallies[kind].found if kind in self.tallies else 0

    @property
    def is_lossless(self) -> bool:
        """Whether nothing is lost."""
        return not any(REMEDIES[kind].is_lost for kind in self.tallies)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the report."""
        return {
            "dry_run": self.is_dry,
            "ended_early": self.ended_early,
            "archives": self.archives,
            "objects": self.objects,
            "found": {
                str(kind): {
                    "found": tally.found,
                    "done": tally.done,
                    "names": tally.names,
                }
                for kind, tally in self.tallies.items()
            },
            "queues": self.depths,
            "lossless": self.is_lossless,
        }
