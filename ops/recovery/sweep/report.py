"""What a sweep found: by kind, how many, and the names of the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: Names that are kept of each kind, so that a report stays small.
_NAMES = 20


class Kind(StrEnum):
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
class Nature:
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


def _remark(what: str, deed: str) -> Nature:
    return Nature(what, deed, is_repaired=False)


def _loss(what: str, deed: str) -> Nature:
    return Nature(what, deed, is_repaired=False, is_lost=True)


NATURES: Mapping[Kind, Nature] = {
    Kind.ARCHIVE_UNTOLD: Nature("archive stored, not told", "told unpack"),
    Kind.ARCHIVE_UNDONE: Nature("archive told, not unpacked", "told unpack again"),
    Kind.ARCHIVE_UNMARKED: Nature("archive of a complete batch not tagged", "tagged it"),
    Kind.RECORDING_UNTOLD: Nature("recording stored, not told", "told transcribe"),
    Kind.RECORDING_UNDONE: Nature("recording told, not done", "told transcribe again"),
    Kind.TRANSCRIPT_UNRECORDED: Nature("transcript stored, no row", "told transcribe again"),
    Kind.TRANSCRIPT_UNTOLD: Nature("transcript stored, not judged", "told moderate"),
    Kind.VERDICT_UNRECORDED: Nature("verdict stored, no row", "told moderate again"),
    Kind.BATCH_UNRECORDED: Nature("batch stored, no rows", "rebuilt its rows"),
    Kind.BATCH_UNCOMPLETED: Nature("batch done, not completed", "completed it"),
    Kind.BATCH_UNANNOUNCED: Nature("batch completed, not announced", "announced it"),
    Kind.ANNOUNCEMENT_GONE: Nature("complete.json gone", "wrote it again"),
    Kind.BATCH_UNITEMISED: Nature("batch complete, no review items made", "told review"),
    Kind.WAITING: _remark("told again a while ago, not done", "waits in its queue"),
    Kind.DEAD: _remark(
        "does not go on by itself",
        "dropscribe status BATCH says why; dropscribe dead list, or reprocess BATCH",
    ),
    Kind.FOREIGN: _remark("object that is not dropscribe's", "left alone"),
    Kind.ARCHIVE_COPY: _remark("another copy of a batch's archive", "left alone"),
    Kind.ARCHIVE_GONE: _loss(
        "archive gone before it was unpacked",
        "drop it again; dropscribe rebuild BATCH forgets what is not stored",
    ),
    Kind.ARCHIVE_OVERWRITTEN: _loss(
        "archive overwritten with other content", "drop the new content as a batch of its own"
    ),
    Kind.OPUS_GONE: _loss(
        "row without its Opus object", "dropscribe reprocess BATCH --from unpack"
    ),
    Kind.TRANSCRIPT_GONE: _loss(
        "row without its transcript", "dropscribe reprocess BATCH --only AUDIO_ID"
    ),
    Kind.VERDICT_GONE: _loss(
        "row without its verdict", "dropscribe reprocess BATCH --from moderate --only AUDIO_ID"
    ),
    Kind.MANIFEST_GONE: _loss(
        "batch without its manifest", "dropscribe reprocess BATCH --from unpack"
    ),
    Kind.FAILED: _loss("can't be looked at, or repaired", "its name says why"),
}


@dataclass(slots=True)
class Tally:
    """How often a kind was found, and what became of it."""

    found: int = 0
    done: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
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
    tallies: dict[Kind, Tally] = field(default_factory=dict)

    def add(self, kind: Kind, name: str, *, is_done: bool = False) -> None:
        """Count one."""
        tally = self.tallies.setdefault(kind, Tally())
        tally.found += 1
        tally.done += is_done
        if len(tally.names) < _NAMES:
            tally.names.append(name)

    def found(self, kind: Kind) -> int:
        """How many of a kind were found."""
        return self.tallies[kind].found if kind in self.tallies else 0

    @property
    def is_lossless(self) -> bool:
        """Whether everything that was found can be, or was, repaired."""
        return not any(NATURES[kind].is_lost for kind in self.tallies)

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
