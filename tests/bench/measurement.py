"""Run a benchmark: its cases in alternation, round after round."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.benchmark import Case, Goal, PreparedBenchmark, Sample


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
