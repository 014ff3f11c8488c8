"""A check: its name, its needs, and running it, beside others, within a timeout."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ops.observe.health.context import ERRORS, CheckContext, started
from ops.observe.health.result import CheckResult, Level, Remark, combined
from ops.wiring.environment import SettingError


@dataclass(frozen=True, slots=True)
class Check:
    """A check.

    Attributes:
        name: The name, for ``--check``.
        about: What is checked, in one line.
        needs: The rights that the check needs, for people.
        function: Yields the findings; `combined` makes one result of them. An error that
            it raises becomes a result.
        settings: Variables of which one has to be set, or the check is skipped; empty
            if it always runs.
        remedy: What to try if the server that the check is about is unreachable, which is
            critical; None if another check reports that, so that here it is unknown.
        is_bounded: Whether the check must end within HEALTH_TIMEOUT.
    """

    name: str
    about: str
    needs: str
    function: Callable[[CheckContext], Iterable[Remark]]
    settings: tuple[str, ...] = ()
    remedy: str | None = None
    is_bounded: Callable[[CheckContext], bool] = lambda _: True

    def run(self, context: CheckContext) -> CheckResult:
        """Run the check; an error becomes a result."""
        # A setting can stand in a file, too.
        if self.settings and not any(map(context.environment.is_set, self.settings)):
            *others, last = self.settings
            unset = f"none of {', '.join(others)} and {last} is" if others else f"{last} is not"
            return CheckResult(self.name, Level.SKIPPED, f"{unset} set on this host")
        try:
            return combined(self.name, self.function(context))
        except SettingError as exc:
            what_to_do = f"correct it, then {self._again}"
            return CheckResult(self.name, Level.CRITICAL, str(exc), what_to_do)
        except ERRORS as exc:
            return self._unanswered(str(exc))
        except Exception as exc:
            # An unforeseen error may quote a secret, so only its type and place are reported.
            where = traceback.extract_tb(exc.__traceback__)[-1]
            what = f"the check failed: {type(exc).__name__} in {Path(where.filename).name}"
            return CheckResult(
                self.name,
                Level.UNKNOWN,
                f"{what}, line {where.lineno}",
                f"please report this; try again: {self._again}",
            )

    def late(self, seconds: float) -> CheckResult:
        """Return the result of a check that did not end in time."""
        return self._unanswered(f"no answer within {seconds:g} s")

    def _unanswered(self, what: str) -> CheckResult:
        if self.remedy is not None:
            return CheckResult(self.name, Level.CRITICAL, what, self.remedy)
        what_to_do = f"see the other checks, then {self._again}"
        return CheckResult(self.name, Level.UNKNOWN, what, what_to_do)

    @property
    def _again(self) -> str:
        return f"dropscribe health --check {self.name}"


def run_checks(checks: Sequence[Check], context: CheckContext) -> list[CheckResult]:
    """Run checks, each in a thread, and give their results in order.

    A check that does not end in time is reported as late, and its thread is abandoned.
    """
    limit = context.settings.timeout.total_seconds()
    end = time.monotonic() + limit
    running = [(check, started(partial(check.run, context), check.name)) for check in checks]
    wait([result for check, result in running if not check.is_bounded(context)])
    wait([result for _, result in running], timeout=max(0.0, end - time.monotonic()))
    return [result.result() if result.done() else check.late(limit) for check, result in running]
