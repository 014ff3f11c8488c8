"""What a soak run says at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from tests.harness.deployment.audit import Audit


@dataclass(frozen=True, slots=True)
class SoakReport:
    """The faults of a soak run, and its results.

    Attributes:
        seed: By which the same archives and faults are chosen again.
        minutes: How long archives were dropped and faults injected.
        drain_seconds: How long the rest took afterwards.
        faults: How many were injected, by kind.
        repaired: What sweeps found and repaired, by kind.
        replayed: Dead letters that were replayed, by reason.
        discarded: Dead letters that the run provokes on purpose.
    """

    seed: int
    minutes: float
    drain_seconds: float
    faults: Mapping[str, int]
    restarts: int
    repaired: Mapping[str, int]
    replayed: Mapping[str, int]
    discarded: int
    audit: Audit
    left_in_queues: Mapping[str, int]
    left_in_scratch: Sequence[str]

    @property
    def is_clean(self) -> bool:
        """Whether everything ended as it has to."""
        return not (self.audit.faults or self.left_in_queues or self.left_in_scratch)

    def as_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return {
            "clean": self.is_clean,
            "faults_injected": sum(self.faults.values()),
            **asdict(self),
        }

    def for_people(self) -> RenderableType:
        """Two tables: the faults and the results."""
        return Group(_counts("fault", self.faults), "", _counts("outcome", self._outcome()))

    def _outcome(self) -> Mapping[str, int]:
        audit = self.audit
        return {
            "batches dropped": audit.batches,
            "recordings dropped": audit.recordings,
            "done": audit.done,
            "rejected as planned": audit.rejected,
            "judged": audit.judged,
            "flagged": audit.flagged,
            "review items": audit.items,
            "lost": len(audit.lost),
            "judged otherwise, or not": len(audit.misjudged),
            "not ready for review": len(audit.unreviewed),
            "duplicated": len(audit.duplicated),
            "completed twice": len(audit.completed_twice),
            "never completed": len(audit.never_completed),
            "stuck": len(audit.stuck),
            "left in queues": sum(self.left_in_queues.values()),
            "left in scratch": len(self.left_in_scratch),
        }


def _counts(heading: str, counts: Mapping[str, int]) -> Table:
    table = Table(heading, "number", show_edge=False, pad_edge=False)
    for name, number in counts.items():
        table.add_row(name, str(number))
    return table
