"""The result of a check: its level, the finding, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ops.wiring.settings import Limits


class Level(StrEnum):
    """The severity; a check with nothing to check on this host is skipped."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"

    @property
    def code(self) -> int:
        """The exit code of a monitoring plugin; 0 for a skipped check."""
        return _CODES[self]


#: Monitoring Plugins' development guidelines, "Plugin Return Codes".
_CODES = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2, Level.UNKNOWN: 3, Level.SKIPPED: 0}

#: From bad to good: a known problem comes before an unknown state.
_ORDER = (Level.CRITICAL, Level.WARNING, Level.UNKNOWN, Level.OK)


@dataclass(frozen=True, slots=True)
class Remark:
    """One finding of a check.

    Attributes:
        level: The severity.
        what: The finding, as text for people.
        what_to_do: The command that helps, with a remark; empty if nothing is wrong.
        figures: Measurements: numbers, or numbers by name (of a route, a discrepancy, a
            volume). In seconds, bytes and shares, not formatted.
    """

    level: Level
    what: str
    what_to_do: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; see `Remark`."""

    check: str
    level: Level
    what: str
    what_to_do: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


def worst(levels: Iterable[Level]) -> Level:
    """Return the worst level; unknown if nothing was checked."""
    found = set(levels)
    return next((level for level in _ORDER if level in found), Level.UNKNOWN)


def judged(value: float, limits: Limits) -> Level:
    """Compare a value with its limits, where large values are bad."""
    if value >= limits.critical:
        return Level.CRITICAL
    return Level.WARNING if value >= limits.warning else Level.OK


def beyond(value: float, limits: Limits, what: str, what_to_do: str) -> Iterator[Remark]:
    """Make a remark if a value reaches its limits."""
    level = judged(value, limits)
    if level is not Level.OK:
        yield Remark(level, what, what_to_do)


def combined(check: str, remarks: Iterable[Remark]) -> CheckResult:
    """Combine remarks into one result with the level of the worst, which comes first.

    Remarks with level ok show only if nothing is wrong.
    """
    remarks = list(remarks)
    wrong = sorted(
        (remark for remark in remarks if remark.level is not Level.OK),
        key=lambda remark: (*_ORDER, Level.SKIPPED).index(remark.level),
    )
    shown = wrong or remarks
    return CheckResult(
        check,
        wrong[0].level if wrong else Level.OK,
        "; ".join(remark.what for remark in shown),
        # Several remarks may give the same advice.
        "; ".join(dict.fromkeys(remark.what_to_do for remark in shown if remark.what_to_do)),
        {name: value for remark in remarks for name, value in remark.figures.items()},
    )
