"""The parts of a benchmark: cases that take turns, and goals for the ratios between them."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
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
        prompts: The folder of Asterisk's ``sounds`` and ``moh``.
    """

    folder: Path
    scale: float = 1.0
    device: str = "cpu"
    prompts: Path = Path("/usr/share/asterisk")

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


def benchmark(
    name: str, about: str
) -> Callable[[Callable[[Conditions], Iterator[PreparedBenchmark]]], Benchmark]:
    """Make a benchmark of a function that yields it prepared, and then clears up."""
    return lambda prepare: Benchmark(name, about, contextmanager(prepare))


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, minimum and maximum of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise one or more values."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Ratio:
    """The measured ratio of a goal: one per round, with their spread."""

    goal: Goal
    spread: Spread

    @property
    def is_met(self) -> bool:
        """Whether the median meets the goal."""
        return self.goal.is_met(self.spread.median)


@dataclass(frozen=True, slots=True)
class Findings:
    """The figures of all rounds.

    Attributes:
        agreement: Figures on how far the cases' outputs agree.
    """

    rounds: int
    values: Mapping[str, Spread]
    facts: Mapping[str, Mapping[str, Spread]]
    ratios: Sequence[Ratio]
    agreement: Mapping[str, float]


def measure(prepared: PreparedBenchmark, rounds: int, advance: Callable[[str], None]) -> Findings:
    """Run all cases in turns, each round beginning with another one.

    Args:
        advance: Told the name of each case before it runs.

    Raises:
        DisagreementError: The cases do not do the same work.
    """
    rounds = min(rounds, prepared.rounds or rounds)
    agreement: Mapping[str, float] | None = None
    counted: list[dict[str, Sample]] = []
    for number in range(-1 if prepared.warms_up else 0, rounds):
        samples = _round(prepared.cases, max(number, 0), advance)
        if agreement is None:
            agreement = prepared.agree({name: each.output for name, each in samples.items()})
        if number >= 0:
            counted.append(samples)
    return Findings(
        rounds=rounds,
        values={
            case.name: Spread.of([each[case.name].value for each in counted])
            for case in prepared.cases
        },
        facts={case.name: _facts([each[case.name] for each in counted]) for case in prepared.cases},
        ratios=[_ratio(goal, counted) for goal in prepared.goals],
        agreement=agreement or {},
    )


def _round(cases: Sequence[Case], number: int, advance: Callable[[str], None]) -> dict[str, Sample]:
    """Run each case once; the order changes, as caches favour later ones."""
    begin = number % len(cases)
    samples = {}
    for case in (*cases[begin:], *cases[:begin]):
        advance(case.name)
        # Garbage of another case is not this one's to collect.
        gc.collect()
        samples[case.name] = case.run()
    return samples


def _facts(samples: Sequence[Sample]) -> dict[str, Spread]:
    return {
        name: Spread.of([each.facts[name] for each in samples if name in each.facts])
        for name in samples[0].facts
    }


def _ratio(goal: Goal, counted: Sequence[Mapping[str, Sample]]) -> Ratio:
    def figure(sample: Sample) -> float:
        return sample.value if goal.fact is None else sample.facts[goal.fact]

    return Ratio(
        goal, Spread.of([figure(each[goal.of]) / figure(each[goal.to]) for each in counted])
    )
