"""What a sweep found: by kind, how many, and the names of the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: Names that are kept of each kind, so that a report stays small.
_NAMES = 20


class Discrepancy(StrEnum):
    """What can be found."""

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
    """What a kind means.

    Attributes:
        what: What was found, for people.
        deed: What is done about it, or what people can do.
        is_repaired: Whether the sweep does it.
        is_lost: Whether something is lost that the sweep can't bring back.
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
    Discrepancy.ARCHIVE_UNTOLD: Remedy("archive stored, not told", "told unpack"),
    Discrepancy.ARCHIVE_UNDONE: Remedy("archive told, not unpacked", "told unpack again"),
    Discrepancy.ARCHIVE_UNMARKED: Remedy("archive of a complete batch not tagged", "tagged it"),
    Discrepancy.RECORDING_UNTOLD: Remedy("recording stored, not told", "told transcribe"),
    Discrepancy.RECORDING_UNDONE: Remedy("recording told, not done", "told transcribe again"),
    Discrepancy.TRANSCRIPT_UNRECORDED: Remedy("transcript stored, no row", "told transcribe again"),
    Discrepancy.TRANSCRIPT_UNTOLD: Remedy("transcript stored, not judged", "told moderate"),
    Discrepancy.VERDICT_UNRECORDED: Remedy("verdict stored, no row", "told moderate again"),
    Discrepancy.BATCH_UNRECORDED: Remedy("batch stored, no rows", "rebuilt its rows"),
    Discrepancy.BATCH_UNCOMPLETED: Remedy("batch done, not completed", "completed it"),
    Discrepancy.BATCH_UNANNOUNCED: Remedy("batch completed, not announced", "announced it"),
    Discrepancy.ANNOUNCEMENT_GONE: Remedy("complete.json gone", "wrote it again"),
    Discrepancy.BATCH_UNITEMISED: Remedy("batch complete, no review items made", "told review"),
    Discrepancy.WAITING: _remark("told again a while ago, not done", "waits in its queue"),
    Discrepancy.DEAD: _remark(
        "does not go on by itself",
        "dropscribe status BATCH says why; dropscribe dead list, or reprocess BATCH",
    ),
    Discrepancy.FOREIGN: _remark("object that is not dropscribe's", "left alone"),
    Discrepancy.ARCHIVE_COPY: _remark("another copy of a batch's archive", "left alone"),
    Discrepancy.ARCHIVE_GONE: _loss(
        "archive gone before it was unpacked",
        "drop it again; dropscribe rebuild BATCH forgets what is not stored",
    ),
    Discrepancy.ARCHIVE_OVERWRITTEN: _loss(
        "archive overwritten with other content", "drop the new content as a batch of its own"
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
    Discrepancy.FAILED: _loss("can't be looked at, or repaired", "its name says why"),
}


@dataclass(slots=True)
class DiscrepancyCount:
    """How often a kind was found, and what became of it."""

    found: int = 0
    done: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SweepReport:
    """What one sweep found and did.

    Attributes:
        is_dry: Whether it only looked.
        ended_early: Whether it was asked to end before it was through.
        archives: How many it saw.
        objects: How many it saw under ``processed/``.
        depths: What waits in each route's queue, after it.
        tallies: What it found.
    """

    is_dry: bool = False
    ended_early: bool = False
    archives: int = 0
    objects: int = 0
    depths: dict[str, int] = field(default_factory=dict)
    tallies: dict[Discrepancy, DiscrepancyCount] = field(default_factory=dict)

    def add(self, kind: Discrepancy, name: str, *, is_done: bool = False) -> None:
        """Count one."""
        tally = self.tallies.setdefault(kind, DiscrepancyCount())
        tally.found += 1
        tally.done += is_done
        if len(tally.names) < _NAMES:
            tally.names.append(name)

    def found(self, kind: Discrepancy) -> int:
        """How many of a kind were found."""
        return self.tallies[kind].found if kind in self.tallies else 0

    @property
    def is_lossless(self) -> bool:
        """Whether everything that was found can be, or was, repaired."""
        return not any(REMEDIES[kind].is_lost for kind in self.tallies)

    def to_json(self) -> dict[str, Any]:
        """Give what ``--json`` prints."""
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
