"""Lengths of time, as people write and read them.

humanize writes other words ("2 hours"), and no clock times.
"""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"(\d{1,6}) ?(s|min|m|h|d)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """Parse a duration like ``90s``, ``15min``, ``6h`` or ``7d``.

    Raises:
        ValueError: It is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration like 90s, 15min, 6h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def in_largest_unit(seconds: float) -> str:
    """Write a duration in its largest unit, rounded down: ``59 s``, ``3 h``, ``2 d``."""
    whole = max(0, round(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def clock_time(seconds: float) -> str:
    """Write a duration as ``m:ss`` or ``h:mm:ss``, rounded to the second."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock_time_to_tenths(seconds: float) -> str:
    """Write a duration as ``h:mm:ss.s``, rounded down."""
    tenths = int(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest // 10:02}.{rest % 10}"
