"""A check: what it is called, what it needs, and how it looks."""

from __future__ import annotations

import traceback
from collections.abc import Callable
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
        name: What people call it.
        about: What it looks at, in a line.
        needs: Which rights it needs, for people.
        settings: Variables of which one has to be set, or it has nothing to look
            at on this host; none where it always has.
        look: Looks. What it raises of the consumers' errors is what it could not
            ask, and makes a finding of its own.
        away: How bad it is if what it asks is away: critical where that is what
            the check is about, and unknown where another says so.
        is_bounded: Whether it has to end within HEALTH_TIMEOUT.
    """

    name: str
    about: str
    needs: str
    look: Callable[[CheckContext], CheckResult]
    settings: tuple[str, ...] = ()
    away: Level = Level.UNKNOWN
    is_bounded: Callable[[CheckContext], bool] = lambda _: True

    def run(self, context: CheckContext) -> CheckResult:
        """Look; whatever happens is a finding."""
        if not self._is_set(context.environment):
            return CheckResult(
                self.name, Level.SKIPPED, f"{' and '.join(self.settings)} not set on this host"
            )
        try:
            return self.look(context)
        except SettingError as exc:
            return self._found(Level.CRITICAL, str(exc), f"correct it, then {self.again}")
        except (TransientError, PermanentError, ConfigurationError) as exc:
            return self._found(self.away, str(exc), self._help())
        except Exception as exc:
            # What is unforeseen may quote anything: it is told by its kind and place alone.
            where = traceback.extract_tb(exc.__traceback__)[-1]
            what = f"the check failed: {type(exc).__name__} in {Path(where.filename).name}"
            return self._found(
                Level.UNKNOWN, f"{what}, line {where.lineno}", f"report it; try again: {self.again}"
            )

    def late(self, seconds: float) -> CheckResult:
        """Say that it did not end in time."""
        return self._found(self.away, f"no answer within {seconds:g} s", self._help())

    @property
    def again(self) -> str:
        """The command that runs this check alone."""
        return f"dropscribe health --check {self.name}"

    def _help(self) -> str:
        if self.away is Level.CRITICAL:
            return _HELP.get(self.name, self.again)
        return f"see what the others say, then {self.again}"

    def _found(self, level: Level, what: str, what_to_do: str) -> CheckResult:
        return CheckResult(self.name, level, what, what_to_do)

    def _is_set(self, environment: Environment) -> bool:
        """Tell whether there is anything to look at; a secret can also stand in a file."""
        return not self.settings or any(environment.is_set(name) for name in self.settings)


#: What to try where a server is away.
_HELP = {
    "store": "on the store's host: systemctl status minio (or ceph -s); S3_ENDPOINT and its keys: "
    "dropscribe bootstrap --dry-run",
    "broker": "on the broker's host: systemctl status rabbitmq-server",
    "database": "on the database's host: systemctl status postgresql",
}
