"""From when on `dropscribe health` calls something wrong."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from ops.wiring.environment import Environment, SettingError

_DURATION = re.compile(r"(\d{1,6})(s|min|m|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on something is a warning, and from when on it is critical.

    Attributes:
        warning: The first, in the unit of what is measured.
        critical: The second.
    """

    warning: float
    critical: float


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """From when on ``dropscribe health`` calls something wrong.

    Two values are those of a warning and of what is critical, by a comma.
    Lengths of time are like ``90s``, ``15min``, ``6h``, ``7d``.

    =============================  ===========================================
    ``HEALTH_TIMEOUT``             how long a check may take (``10s``)
    ``HEALTH_STUCK_AFTER``         from when on a batch without progress is
                                   stuck (``2h``)
    ``HEALTH_BEHIND``              how long something may wait for a stage
                                   (``6h,24h``)
    ``HEALTH_SWEEP``               how long ago the last sweep may have ended
                                   (``1h,6h``)
    ``HEALTH_FREE``                shares of a volume that are to be free
                                   (``0.2,0.1``)
    ``HEALTH_CLOCK``               how far the clock may be from the store's
                                   (``10s,5min``)
    ``HEALTH_CONNECTIONS``         share of the database's connections that may
                                   be in use (``0.8,0.95``)
    ``HEALTH_COMPLETION_SECONDS``  how long the question may take whether a batch
                                   is complete (``0.1,2``)
    ``HEALTH_VOLUME``              where a volume is to be mounted, on which
                                   ``SCRATCH_ROOT`` and ``MODELS_ROOT`` lie if
                                   they are below it (none)
    ``HEALTH_RABBITMQCTL``         how to run rabbitmqctl, if not as that:
                                   ``sudo -n rabbitmqctl``, or on the broker's
                                   host by ssh
    =============================  ===========================================
    """

    timeout: timedelta
    stuck_after: timedelta
    behind: Limits
    sweep: Limits
    free: Limits
    clock: Limits
    connections: Limits
    completion: Limits
    volume: Path | None
    rabbitmqctl: tuple[str, ...]

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One can't be.
        """
        return cls(
            timeout=_read_duration(environment, "HEALTH_TIMEOUT", "10s"),
            stuck_after=_read_duration(environment, "HEALTH_STUCK_AFTER", "2h"),
            behind=_read_durations(environment, "HEALTH_BEHIND", "6h,24h"),
            sweep=_read_durations(environment, "HEALTH_SWEEP", "1h,6h"),
            free=_read_limits(environment, "HEALTH_FREE", "0.2,0.1", falling=True),
            clock=_read_durations(environment, "HEALTH_CLOCK", "10s,5min"),
            connections=_read_limits(environment, "HEALTH_CONNECTIONS", "0.8,0.95"),
            completion=_read_limits(environment, "HEALTH_COMPLETION_SECONDS", "0.1,2"),
            volume=environment.path("HEALTH_VOLUME"),
            rabbitmqctl=_read_command(environment, "HEALTH_RABBITMQCTL", "rabbitmqctl"),
        )


def _read_duration(environment: Environment, name: str, default: str) -> timedelta:
    text = environment.text(name, default).strip()
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise SettingError(f"{name}={text!r} is not a length of time like 90s, 15min, 6h or 7d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _read_durations(environment: Environment, name: str, default: str) -> Limits:
    text = environment.text(name, default)
    parts = [part.strip() for part in text.split(",")]
    matches = [_DURATION.fullmatch(part) for part in parts]
    seconds = [int(match[1]) * _UNITS[match[2]] for match in matches if match is not None]
    if len(seconds) != len(parts) or len(parts) != 2 or seconds[0] > seconds[1]:  # noqa: PLR2004
        raise SettingError(
            f"{name}={text!r} is not two lengths of time like 1h,6h: for a warning, and for what "
            "is critical"
        )
    return Limits(*seconds)


def _read_limits(
    environment: Environment, name: str, default: str, *, falling: bool = False
) -> Limits:
    text = environment.text(name, default)
    try:
        warning, critical = (float(part) for part in text.split(","))
    except ValueError:
        warning, critical = -1.0, -1.0
    in_order = critical <= warning if falling else warning <= critical
    # Whatever is no number compares as false, too.
    if not (in_order and warning >= 0 and critical >= 0):
        raise SettingError(
            f"{name}={text!r} is not two numbers like {default}: for a warning, and for what is "
            "critical"
        )
    return Limits(warning, critical)


def _read_command(environment: Environment, name: str, default: str) -> tuple[str, ...]:
    text = environment.text(name, default)
    try:
        return tuple(shlex.split(text))
    except ValueError as exc:
        raise SettingError(f"{name}={text!r} is not a command line: {exc}") from exc
