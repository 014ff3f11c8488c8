"""Types of settings: how text becomes a number, a path, a length of time."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from ops.durations import parse_duration
from ops.wiring.settings.declaration import Form, problem


@dataclass(frozen=True, slots=True)
class Limits:
    """The values from which something is a warning, and from which it is critical.

    Attributes:
        warning: In the unit of what is measured; seconds for lengths of time.
        critical: The same.
    """

    warning: float
    critical: float


def _absolute(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise ValueError
    return path


def _existing(text: str) -> str:
    path = _absolute(text)
    if not path.is_file():
        raise problem("is not a file")
    return str(path)


def _readable(path: Path) -> Path:
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise problem("is not a readable file")
    return path


def _duration(text: str) -> timedelta:
    duration = parse_duration(text.strip())
    if not duration:
        raise ValueError
    return duration


def _seconds(text: str) -> int:
    return int(parse_duration(text.strip()).total_seconds())


def _limits(text: str, parse: Callable[[str], float], *, is_falling: bool = False) -> Limits:
    warning, critical = (parse(part) for part in text.split(","))
    least, most = (critical, warning) if is_falling else (warning, critical)
    # Comparisons with NaN are false.
    if not 0 <= least <= most:
        raise ValueError
    return Limits(warning, critical)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _command(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


# pydantic's own conversion would take 1.0 for a whole number, and refuse what float() accepts.
Whole = Annotated[int, BeforeValidator(int)]
Number = Annotated[float, BeforeValidator(_finite)]

AbsolutePath = Annotated[Path, PlainValidator(_absolute), Form("an absolute path")]
ExistingFile = Annotated[str, PlainValidator(_existing), Form("an absolute path")]
ReadableFile = Annotated[AbsolutePath, AfterValidator(_readable)]

Duration = Annotated[
    timedelta, PlainValidator(_duration), Form("a length of time like 90s, 15min, 6h or 7d")
]
DurationLimits = Annotated[
    Limits,
    PlainValidator(partial(_limits, parse=_seconds)),
    Form("two lengths of time like 1h,6h: for a warning, and for critical"),
]
RisingLimits = Annotated[
    Limits,
    PlainValidator(partial(_limits, parse=float)),
    Form("two numbers like 0.8,0.95: for a warning, and for critical"),
]
FallingLimits = Annotated[
    Limits,
    PlainValidator(partial(_limits, parse=float, is_falling=True)),
    Form("two numbers like 0.2,0.1: for a warning, and for critical"),
]
CommandLine = Annotated[tuple[str, ...], PlainValidator(_command), Form("a command line")]

Device = Literal["auto", "cpu", "cuda"]
