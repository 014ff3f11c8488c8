"""What a check gives: how bad it is, what it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ops.wiring.settings import Limits


class Level(StrEnum):
    """How bad it is; a check that has nothing to look at here is skipped."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"

    @property
    def code(self) -> int:
        """The exit code by which monitoring plugins say so (and 0 for what is skipped)."""
        return _CODES[self]


#: Monitoring Plugins' development guidelines, "Plugin Return Codes".
_CODES = {
    Level.OK: 0,
    Level.WARNING: 1,
    Level.CRITICAL: 2,
    Level.UNKNOWN: 3,
    Level.SKIPPED: 0,
}

#: From bad to good: what is known to be wrong comes before what is not known.
_ORDER = (Level.CRITICAL, Level.WARNING, Level.UNKNOWN, Level.OK)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check saw.

    Attributes:
        check: Its name.
        level: How bad it is.
        what: What it saw, for people.
        what_to_do: The command that helps, and what else is to be known; empty
            where nothing is to be done.
        figures: What was measured: numbers, or numbers by a name (of a route, a
            kind, a volume). Seconds, bytes and shares, never formatted.
    """

    check: str
    level: Level
    what: str
    what_to_do: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give what ``--json`` says of it."""
        return {
            "check": self.check,
            "level": self.level.value,
            "what": self.what,
            "what_to_do": self.what_to_do,
            "figures": dict(self.figures),
        }


@dataclass(frozen=True, slots=True)
class Remark:
    """One of several things that a check sees.

    Attributes:
        level: How bad it is.
        what: What it is.
        what_to_do: The command that helps.
    """

    level: Level
    what: str
    what_to_do: str = ""


def worst(levels: Iterable[Level]) -> Level:
    """Tell the worst of levels; where nothing was looked at, nothing is known."""
    found = set(levels)
    return next((level for level in _ORDER if level in found), Level.UNKNOWN)


def judged(value: float, limits: Limits) -> Level:
    """Tell how bad it is that something is so large."""
    if value >= limits.critical:
        return Level.CRITICAL
    return Level.WARNING if value >= limits.warning else Level.OK


def combined(
    check: str, remarks: Sequence[Remark], all_well: str, figures: Mapping[str, Any] | None = None
) -> CheckResult:
    """Make one finding of remarks: as bad as the worst, which is said first.

    Args:
        check: The check's name.
        remarks: What it sees; those that are ok are said only if nothing is wrong.
        all_well: What is said where there is no remark.
        figures: What it measured.
    """
    figures = figures or {}
    wrong = sorted(
        (remark for remark in remarks if remark.level is not Level.OK),
        key=lambda remark: (*_ORDER, Level.SKIPPED).index(remark.level),
    )
    if not wrong:
        said = [all_well, *(remark.what for remark in remarks)]
        return CheckResult(check, Level.OK, "; ".join(said), figures=figures)
    return CheckResult(
        check,
        wrong[0].level,
        "; ".join(remark.what for remark in wrong),
        # Several things can ask for the same.
        "; ".join(dict.fromkeys(remark.what_to_do for remark in wrong if remark.what_to_do)),
        figures,
    )
