"""The work: batches without progress, how far each stage is behind, and the last sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from consumers.database.health import Backlog, IdleBatch
from events.keys import ARCHIVES, batch_of
from ops.durations import in_largest_unit
from ops.observe.health.context import ERRORS, CheckContext
from ops.observe.health.result import Level, Remark, beyond
from ops.recovery.sweep.report import Discrepancy
from ops.wiring.environment import SettingError

#: The most batches to name.
_NAMED = 10

#: The most pages of 1,000 archives to list; retention keeps them few.
_PAGES = 20

_SWEEP = "dropscribe sweep; to repeat it: systemctl enable --now dropscribe-sweep.timer"


def check_batches(context: CheckContext) -> Iterator[Remark]:
    """Find batches that are stuck or stalled.

    A stuck batch had no progress for HEALTH_STUCK_AFTER although no earlier batch is in
    work at its stage, so it does not just wait its turn. A batch that is reprocessed
    counts from its drop until its work begins. A stalled batch needs an operator, for a
    recorded reason.
    """
    found = context.database.idle_batches(context.settings.stuck_after, _NAMED)
    stuck = [batch for batch in found if not batch.is_stalled]
    stalled = [batch for batch in found if batch.is_stalled]
    kept = context.database.kept_archives()
    archives = "1 archive is" if kept == 1 else f"{kept:,} archives are"
    yield Remark(
        Level.OK,
        "all are in progress or done"
        + (f"; {archives} kept, as something in it is missing from the result" if kept else ""),
        "dropscribe status lists them; dropscribe release BATCH lets one expire" if kept else "",
        figures={
            "kept_archives": kept,
            "stuck": stuck[0].number if stuck else 0,
            "stalled": stalled[0].number if stalled else 0,
            "stuck_batches": {batch.batch_id: round(batch.idle) for batch in stuck},
            "stalled_batches": {batch.batch_id: round(batch.idle) for batch in stalled},
        },
    )
    if stuck:
        what_to_do = f"dropscribe status {stuck[0].batch_id}, then dropscribe sweep"
        yield Remark(Level.CRITICAL, _shown("stuck", stuck), what_to_do)
    if stalled:
        batch = stalled[0].batch_id
        what_to_do = f"dropscribe status {batch} shows why; dropscribe dead list --batch {batch}"
        yield Remark(Level.WARNING, _shown("stalled", stalled), what_to_do)


def _shown(state: str, batches: Sequence[IdleBatch]) -> str:
    names = ", ".join(
        f"{batch.batch_id} ({batch.stage}, {in_largest_unit(batch.idle)})" for batch in batches
    )
    number = batches[0].number
    return f"{number} {state}: {names}" + (", ..." if number > len(batches) else "")


def check_stages(context: CheckContext) -> Iterator[Remark]:
    """Count the items that wait for each stage, and measure the age of the oldest.

    An archive waits since it was stored, a recording since it was converted or
    transcribed, a batch since it was completed. Dead letters do not count.
    """
    names = {route.name for route in context.routes}
    backlogs = [backlog for backlog in context.database.backlogs() if backlog.route in names]
    remarks: list[Remark] = []
    for number, backlog in enumerate(backlogs):
        if backlog.route == "unpack":
            backlogs[number], remarks = _with_archives(context, backlog)
    yield Remark(
        Level.OK,
        "waiting: " + ", ".join(f"{backlog.route} {backlog.waiting}" for backlog in backlogs),
        figures={
            "waiting": {backlog.route: backlog.waiting for backlog in backlogs},
            "oldest_seconds": {backlog.route: round(backlog.oldest or 0) for backlog in backlogs},
        },
    )
    for backlog in backlogs:
        if backlog.oldest is not None:
            oldest = in_largest_unit(backlog.oldest)
            yield from beyond(
                backlog.oldest,
                context.settings.behind,
                f"{backlog.route} is behind: {backlog.waiting} wait, the oldest for {oldest}",
                f"dropscribe health --check queues; more workers: systemctl start "
                f"dropscribe@{backlog.route}-2; dropscribe sweep resends lost events",
            )
    yield from remarks


def _with_archives(context: CheckContext, backlog: Backlog) -> tuple[Backlog, list[Remark]]:
    """Count the archives in the bucket, as one that no consumer has taken yet has no row.

    If not all archives could be listed, the larger of the two counts is used.
    """
    try:
        waiting, oldest, is_all = _untaken(context)
    except SettingError as exc:
        return backlog, [Remark(Level.OK, f"archives are not checked from here: {exc}")]
    except ERRORS as exc:
        what = f"archives that no consumer has taken are not checked: {exc}"
        return backlog, [Remark(Level.UNKNOWN, what, "dropscribe health --check store")]
    remarks = []
    if not is_all:
        waiting, oldest = max(waiting, backlog.waiting), max(oldest, backlog.oldest or 0.0)
        what = f"only the first {_PAGES * 1000} archives were checked"
        what_to_do = "RETENTION_DAYS removes old ones: dropscribe bootstrap"
        remarks.append(Remark(Level.UNKNOWN, what, what_to_do))
    return replace(backlog, waiting=waiting, oldest=oldest if waiting else None), remarks


def _untaken(context: CheckContext) -> tuple[int, float, bool]:
    """Return the number of waiting archives, the age of the oldest, and whether all were listed."""
    database, now = context.database, context.now()
    waiting, oldest = 0, 0.0
    pages = iter(context.store.pages(ARCHIVES))
    for page in islice(pages, _PAGES):
        stored = {each.key: each for each in page if not each.key.endswith("/")}
        unread = database.unread(
            list(stored),
            [batch_of(key) for key in stored],
            [each.etag for each in stored.values()],
        )
        waiting += len(unread)
        for key in unread:
            oldest = max(oldest, (now - stored[key].last_modified).total_seconds())
    return waiting, oldest, next(pages, None) is None


def check_sweep(context: CheckContext) -> Iterator[Remark]:
    """Check the age of the last whole sweep, and the losses that it could not repair."""
    last = context.database.last_sweep()
    if last is None:
        yield Remark(Level.WARNING, "none is recorded", _SWEEP)
        return
    ended = f"the last one ended {in_largest_unit(last.age)} ago"
    repaired = [str(kind) for kind in Discrepancy if kind.is_repaired]
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
    lost = {str(kind) for kind in Discrepancy if kind.is_lost}
    counts = [f"{name} {number}" for name, number in last.found.items() if name in lost]
    if counts:
        yield Remark(
            Level.WARNING,
            f"it found losses that it cannot restore: {', '.join(counts)}",
            "dropscribe sweep --dry-run lists them, and what to do",
        )
