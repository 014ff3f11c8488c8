"""The parts of a benchmark: cases that alternate, and goals for the ratios between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


class DisagreementError(Exception):
    """Two cases that should do the same work gave different results."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The result of one run of a case.

    Attributes:
        value: The compared figure, in the benchmark's unit; less is better.
        facts: Other figures of this run, by name, with their unit in it ("peak MB").
        output: The work's output, for `PreparedBenchmark.agree`.
    """

    value: float
    facts: Mapping[str, float] = field(default_factory=dict)
    output: Any = None


@dataclass(frozen=True, slots=True)
class Case:
    """One way to do the work; ``run`` does it once, from the same state each time."""

    name: str
    run: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Goal:
    """A target ratio: the value of ``of`` divided by that of ``to``.

    Attributes:
        of: The numerator. With a peer there, the ratio says how many times as fast ours is.
        bound: Whether ``limit`` is a lower or an upper bound.
        limit: The bound of the ratio; None for a ratio without a goal.
        fact: The fact to compare instead of the value.
    """

    of: str
    to: str
    bound: Literal["at least", "at most"] = "at least"
    limit: float | None = None
    fact: str | None = None

    def is_met(self, ratio: float) -> bool:
        """Whether a ratio meets the goal."""
        if self.limit is None:
            return True
        return ratio >= self.limit if self.bound == "at least" else ratio <= self.limit


def _nothing_to_compare(_: Mapping[str, Any]) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class PreparedBenchmark:
    """A benchmark with its input and running servers.

    Attributes:
        unit: The unit of the values: "s", "ms per recording".
        agree: Compares the outputs of the cases, by name, and returns figures on how
            far they agree ("word error rate").
            Raises `DisagreementError` where they do not.
        packages: Whose versions belong to the result.
        rounds: The most rounds, for benchmarks that take long or grow while they run.
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
    """The conditions of a run.

    Attributes:
        folder: For its files; removed afterwards.
        scale: Size of the input relative to the published figures: 0.1 is a tenth of the clips.
        device: ``cpu`` or ``cuda``.
    """

    folder: Path
    scale: float = 1.0
    device: str = "cpu"

    def scaled(self, count: int) -> int:
        """Scale a count; at least one."""
        return max(1, round(count * self.scale))


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark, before anything is made for it.

    Attributes:
        about: One line on what it measures.
        prepare: Makes input and servers while a block runs.
    """

    name: str
    about: str
    prepare: Callable[[Conditions], AbstractContextManager[PreparedBenchmark]]
