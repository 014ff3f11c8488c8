"""Sudden death at a named point: a process kills itself, as often as it is asked to.

What it is told lies in a folder, one marker for each death, so that whoever starts the
process again need not know. What dies is wrapped from outside: the consumers' own code
knows nothing of it.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Self

#: The variable that names the folder.
_VARIABLE = "SOAK_DEATHS"

_DUE, _DONE = ".due", ".done"


class DeathPoint(StrEnum):
    """Where a consumer dies."""

    #: The first bytes of an archive are read.
    ARCHIVE_FETCHED = "archive-fetched"
    #: A transcoder is at work.
    MID_TRANSCODE = "mid-transcode"
    #: A recording's Opus object is stored, and its row is not.
    OPUS_STORED = "opus-stored"
    #: A recording's row is written, and completion is not yet checked.
    ROW_WRITTEN = "row-written"
    #: The manifest is stored, and the batch is not sealed.
    MANIFEST_STORED = "manifest-stored"
    #: The batch is sealed, and completion is not yet checked.
    SEALED = "sealed"
    #: A recording's Opus object is downloaded.
    OPUS_FETCHED = "opus-fetched"
    #: Recordings are recognised, and nothing of it is stored.
    RECOGNISED = "recognised"
    #: A transcript's object is stored, and its row is not.
    TRANSCRIPT_STORED = "transcript-stored"
    #: What recordings say is judged, and nothing of it is stored.
    JUDGED = "judged"
    #: A verdict's object is stored, and its rows are not.
    VERDICT_STORED = "verdict-stored"
    #: A verdict's rows are written, and completion is not yet checked.
    VERDICT_WRITTEN = "verdict-written"
    #: Recordings are moderated, and the broker does not know it.
    MODERATED = "moderated"
    #: The batch is complete in Postgres, and its object is not stored.
    COMPLETED = "completed"
    #: The completion's object is stored, and Postgres does not know it.
    COMPLETION_STORED = "completion-stored"
    #: A review clip is stored, and the list of items is not.
    CLIP_STORED = "clip-stored"
    #: The list of a batch's review items is stored, and their rows are not.
    ITEMS_STORED = "items-stored"
    #: A batch is ready for review, and the broker does not know it.
    ITEMISED = "itemised"
    #: All is done, and the broker does not know it.
    BEFORE_ACK = "before-ack"


class Deaths:
    """The deaths that may still happen, and those that have.

    Safe to use from many processes: each death is one process's.

    Args:
        folder: For the markers; made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> Self | None:
        """Read the folder from the environment; None without the variable."""
        folder = variables.get(_VARIABLE)
        return cls(Path(folder)) if folder else None

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables for the processes that are to die."""
        return {_VARIABLE: str(self._folder)}

    def allow(self, point: DeathPoint, times: int = 1) -> None:
        """Allow a number of further deaths at a point."""
        for _ in range(times):
            (self._folder / f"{point}.{uuid.uuid4().hex}{_DUE}").touch()

    def forbid(self) -> None:
        """Forbid further deaths."""
        for point in DeathPoint:
            for marker in self._due(point):
                marker.unlink(missing_ok=True)

    def due(self) -> Counter[DeathPoint]:
        """Count the deaths that may still happen."""
        return Counter(point for point in DeathPoint for _ in self._due(point))

    def done(self) -> Counter[DeathPoint]:
        """Count the deaths that have happened."""
        names = [path.name for path in self._folder.glob(f"*{_DONE}")]
        return Counter(DeathPoint(name.split(".")[0]) for name in names)

    def reach(self, point: DeathPoint) -> None:
        """Die, if that may happen at this point."""
        if self.claim(point):
            self.die()

    def claim(self, point: DeathPoint) -> bool:
        """Say whether this process is the next to die at a point: it then must."""
        for marker in self._due(point):
            # Of two processes that are here at the same time, one renames it.
            with suppress(FileNotFoundError):
                marker.rename(marker.with_suffix(_DONE))
                return True
        return False

    def die(self) -> None:
        """End this process, by SIGKILL."""
        os.kill(os.getpid(), signal.SIGKILL)

    def _due(self, point: DeathPoint) -> Iterator[Path]:
        return self._folder.glob(f"{point}.*{_DUE}")
