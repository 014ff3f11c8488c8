"""Running checks concurrently, each within its timeout."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence

from ops.observe.health.check import Check
from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult


def run_checks(checks: Sequence[Check], context: CheckContext) -> list[CheckResult]:
    """Run checks, each in a thread, and give their results in order.

    A check that does not end in time is reported as late. Its thread is abandoned, and
    does not keep the process alive.
    """
    found: queue.Queue[tuple[int, CheckResult]] = queue.Queue()

    def run(number: int, check: Check) -> None:
        found.put((number, check.run(context)))

    for number, check in enumerate(checks):
        threading.Thread(target=run, args=(number, check), name=check.name, daemon=True).start()
    limit = context.settings.timeout.total_seconds()
    end = time.monotonic() + limit
    findings: dict[int, CheckResult] = {}
    while waiting := [number for number in range(len(checks)) if number not in findings]:
        is_bounded = all(checks[number].is_bounded(context) for number in waiting)
        try:
            number, finding = found.get(timeout=_left(end) if is_bounded else None)
        except queue.Empty:
            break
        findings[number] = finding
    return [
        findings[number] if number in findings else check.late(limit)
        for number, check in enumerate(checks)
    ]


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())
