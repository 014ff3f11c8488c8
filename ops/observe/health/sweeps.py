"""The last sweep: its age and its findings."""

from __future__ import annotations

from collections.abc import Mapping

from ops.durations import in_largest_unit
from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult, Level, Remark, combined, judged
from ops.recovery.sweep.report import REMEDIES, Discrepancy

_SWEEP = "dropscribe sweep; to repeat it: systemctl enable --now dropscribe-sweep.timer"


def check_sweep(context: CheckContext) -> CheckResult:
    """Check the age of the last whole sweep, and the losses that it could not repair."""
    last = context.database.last_sweep()
    if last is None:
        return CheckResult("sweep", Level.WARNING, "none is recorded", _SWEEP)
    remarks = []
    ago = in_largest_unit(last.age)
    level = judged(last.age, context.settings.sweep)
    if level is not Level.OK:
        remarks.append(Remark(level, f"the last one ended {ago} ago", _SWEEP))
    lost = _lost(last.found)
    if lost:
        counts = ", ".join(f"{name} {number}" for name, number in lost.items())
        remarks.append(
            Remark(
                Level.WARNING,
                f"it found losses that it cannot restore: {counts}",
                "dropscribe sweep --dry-run lists them, and what to do",
            )
        )
    repaired = {str(kind): last.repaired.get(str(kind), 0) for kind in _REPAIRED}
    figures = {
        "ended": round(last.ended, 3),
        "age_seconds": round(last.age),
        "repaired": repaired,
        "found": dict(last.found),
    }
    said = f"the last one ended {ago} ago and repaired {sum(last.repaired.values())}"
    return combined("sweep", remarks, said, figures)


_REPAIRED = [kind for kind in Discrepancy if REMEDIES[kind].is_repaired]


def _lost(found: Mapping[str, int]) -> dict[str, int]:
    """Select the losses; discrepancies of other releases are left out."""
    known = {str(kind): kind for kind in Discrepancy}
    return {
        name: number
        for name, number in found.items()
        if name in known and REMEDIES[known[name]].is_lost
    }
