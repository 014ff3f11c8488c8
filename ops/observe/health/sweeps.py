"""The last sweep: its age and its findings."""

from __future__ import annotations

from collections.abc import Iterator

from ops.durations import in_largest_unit
from ops.observe.health.context import CheckContext
from ops.observe.health.result import Level, Remark, beyond
from ops.recovery.sweep.report import REMEDIES, Discrepancy

_SWEEP = "dropscribe sweep; to repeat it: systemctl enable --now dropscribe-sweep.timer"


def check_sweep(context: CheckContext) -> Iterator[Remark]:
    """Check the age of the last whole sweep, and the losses that it could not repair."""
    last = context.database.last_sweep()
    if last is None:
        yield Remark(Level.WARNING, "none is recorded", _SWEEP)
        return
    ended = f"the last one ended {in_largest_unit(last.age)} ago"
    repaired = [str(kind) for kind in Discrepancy if REMEDIES[kind].is_repaired]
    yield Remark(
        Level.OK,
        f"{ended} and repaired {sum(last.repaired.values())}",
        figures={
            "ended": round(last.ended, 3),
            "age_seconds": round(last.age),
            "repaired": {kind: last.repaired.get(kind, 0) for kind in repaired},
            "found": dict(last.found),
        },
    )
    yield from beyond(last.age, context.settings.sweep, ended, _SWEEP)
    # Discrepancies of other releases are left out.
    lost = {str(kind) for kind in Discrepancy if REMEDIES[kind].is_lost}
    counts = [f"{name} {number}" for name, number in last.found.items() if name in lost]
    if counts:
        yield Remark(
            Level.WARNING,
            f"it found losses that it cannot restore: {', '.join(counts)}",
            "dropscribe sweep --dry-run lists them, and what to do",
        )
