"""What a benchmark is: cases that take turns, and the ratios between them that are aimed at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


class DisagreementError(Exception):
    """Two cases that have to do the same work gave different results; says which and how."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run of one case gave.

    Attributes:
        value: What is compared, in the benchmark's unit; less is better.
        facts: Other figures of this run, by name, with their unit in it ("peak MB").
        output: What was made, for `PreparedBenchmark.agree` to look at.
    """

    value: float
    facts: Mapping[str, float] = field(default_factory=dict)
    output: Any = None


@dataclass(frozen=True, slots=True)
class Case:
    """One way to do the work.

    Attributes:
        name: What it is called in the report.
        run: Does the work once, from a state that is always the same.
    """

    name: str
    run: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio that is aimed at: the value of ``of``, divided by that of ``to``.

    Attributes:
        of: The case above the line. A peer there makes "so many times as fast" of it.
        to: The case below it.
        bound: Whether ``limit`` is the least or the most that is aimed at.
        limit: That ratio; None where it is only told.
        fact: Compare this fact instead of the value.
    """

    of: str
    to: str
    bound: Literal["at least", "at most"] = "at least"
    limit: float | None = None
    fact: str | None = None

    def is_met(self, ratio: float) -> bool:
        """Tell whether a ratio is as it should be."""
        if self.limit is None:
            return True
        return ratio >= self.limit if self.bound == "at least" else ratio <= self.limit


def _nothing_to_compare(_: Mapping[str, Any]) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class PreparedBenchmark:
    """A benchmark whose input lies ready and whose servers run.

    Attributes:
        unit: Of the values: "s", "ms per recording".
        cases: In the order of the report.
        goals: The ratios to be told.
        agree: Looks at what each case made, by its name, and gives figures on how
            far they agree ("word error rate").
            Raises `DisagreementError` where they do not.
        packages: Whose versions belong to the result.
        rounds: How often at most; for what takes too long, or grows while it runs.
        warms_up: Whether a first round is not counted.
    """

    unit: str
    cases: Sequence[Case]
    goals: Sequence[Goal] = ()
    agree: Callable[[Mapping[str, Any]], Mapping[str, float]] = _nothing_to_compare
    packages: Sequence[str] = ()
    rounds: int | None = None
    warms_up: bool = True


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which a benchmark is to prepare itself.

    Attributes:
        folder: For its files; removed afterwards.
        scale: Of the input, against that of record: 0.1 is a tenth of the clips.
        device: ``cpu`` or ``cuda``.
    """

    folder: Path
    scale: float = 1.0
    device: str = "cpu"

    def scaled(self, count: int) -> int:
        """Give how many there are to be, of so many at full scale; one at least."""
        return max(1, round(count * self.scale))


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark, before anything is made for it.

    Attributes:
        name: As it is typed.
        about: What it measures, in a line.
        prepare: Makes input and servers for as long as a block runs.
    """

    name: str
    about: str
    prepare: Callable[[Conditions], AbstractContextManager[PreparedBenchmark]]
