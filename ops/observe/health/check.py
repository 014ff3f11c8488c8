"""A check: its name, its needs, and running it, beside others, within a timeout."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from consumers.errors import ConfigurationError, PermanentError, TransientError
from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult, Level
from ops.wiring.environment import Environment, SettingError


@dataclass(frozen=True, slots=True)
class Check:
    """A check.

    Attributes:
        name: The name, for ``--check``.
        about: What is checked, in one line.
        needs: The rights that the check needs, for people.
        function: The check itself. An error that it raises becomes a result.
        settings: Variables of which one has to be set, or the check is skipped; empty
            if it always runs.
        away: The level if a server is unreachable: critical if the check is about
            that server, and unknown if another check reports it.
        is_bounded: Whether the check must end within HEALTH_TIMEOUT.
    """

    name: str
    about: str
    needs: str
    function: Callable[[CheckContext], CheckResult]
    settings: tuple[str, ...] = ()
    away: Level = Level.UNKNOWN
    is_bounded: Callable[[CheckContext], bool] = lambda _: True

    def run(self, context: CheckContext) -> CheckResult:
        """Run the check; an error becomes a result."""
        if not self._is_set(context.environment):
            return CheckResult(self.name, Level.SKIPPED, f"{self._unset()} set on this host")
        try:
            return self.function(context)
        except SettingError as exc:
            return self._found(Level.CRITICAL, str(exc), f"correct it, then {self.again}")
        except (TransientError, PermanentError, ConfigurationError) as exc:
            return self._found(self.away, str(exc), self._help())
        except Exception as exc:
            # An unforeseen error may quote a secret, so only its type and place are reported.
            where = traceback.extract_tb(exc.__traceback__)[-1]
            what = f"the check failed: {type(exc).__name__} in {Path(where.filename).name}"
            return self._found(
                Level.UNKNOWN,
                f"{what}, line {where.lineno}",
                f"please report this; try again: {self.again}",
            )

    def late(self, seconds: float) -> CheckResult:
        """Return the result of a check that did not end in time."""
        return self._found(self.away, f"no answer within {seconds:g} s", self._help())

    @property
    def again(self) -> str:
        """The command that runs this check alone."""
        return f"dropscribe health --check {self.name}"

    def _help(self) -> str:
        if self.away is Level.CRITICAL:
            return _HELP.get(self.name, self.again)
        return f"see the other checks, then {self.again}"

    def _found(self, level: Level, what: str, what_to_do: str) -> CheckResult:
        return CheckResult(self.name, level, what, what_to_do)

    def _is_set(self, environment: Environment) -> bool:
        """Whether one of the settings is set, itself or as a file."""
        return not self.settings or any(environment.is_set(name) for name in self.settings)

    def _unset(self) -> str:
        *others, last = self.settings
        return f"none of {', '.join(others)} and {last} is" if others else f"{last} is not"


#: What to try if a server is unreachable.
_HELP = {
    "store": "on the store's host: systemctl status minio (or ceph -s); S3_ENDPOINT and its keys: "
    "dropscribe bootstrap --dry-run",
    "broker": "on the broker's host: systemctl status rabbitmq-server",
    "database": "on the database's host: systemctl status postgresql",
}


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
