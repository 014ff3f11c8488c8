"""What benchmarks are made of: turns, ratios, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.bench.__main__ import main
from tests.bench.benchmark import (
    Benchmark,
    Case,
    Conditions,
    DisagreementError,
    Findings,
    Goal,
    PreparedBenchmark,
    Sample,
    Spread,
    measure,
)
from tests.bench.report import BenchmarkReport


def ignored(_: str) -> None:
    """Show nothing."""


def case(name: str, *values: float, output: Any = None) -> Case:
    """Make a case whose rounds give these values."""
    given = iter(values)
    return Case(name, lambda: Sample(next(given), {"peak MB": 10.0}, output))


def two_cases(goal: Goal) -> Findings:
    """Measure two cases for three rounds, after one that does not count."""
    cases = [case("ours", 99, 1, 2, 4), case("theirs", 1, 4, 4, 4)]
    return measure(PreparedBenchmark("s", cases, [goal]), 3, ignored)


def test_a_ratio_is_that_of_each_round_and_the_warm_up_does_not_count() -> None:
    findings = two_cases(Goal(of="theirs", to="ours", limit=2.0))
    assert findings.values == {"ours": Spread(2, 1, 4), "theirs": Spread(4, 4, 4)}
    (ratio,) = findings.ratios
    assert ratio.spread == Spread(2.0, 1.0, 4.0)
    assert ratio.is_met


@pytest.mark.parametrize(
    ("goal", "is_met"),
    [
        (Goal("theirs", "ours", "at least", 2.1), False),
        (Goal("theirs", "ours", "at most", 1.9), False),
        (Goal("theirs", "ours", "at most", 2.0), True),
        (Goal("theirs", "ours"), True),
        (Goal("theirs", "ours", "at most", 1.0, fact="peak MB"), True),
    ],
)
def test_a_goal_is_met_or_missed(goal: Goal, *, is_met: bool) -> None:
    assert two_cases(goal).ratios[0].is_met is is_met


def test_each_round_begins_with_another_case() -> None:
    order: list[str] = []
    cases = [case("a", 1, 1), case("b", 1, 1)]
    measure(PreparedBenchmark("s", cases, warms_up=False), 2, order.append)
    assert order == ["a", "b", "b", "a"]


def test_cases_that_do_other_work_are_no_comparison() -> None:
    def agree(outputs: Mapping[str, Any]) -> Mapping[str, float]:
        if outputs["a"] != outputs["b"]:
            raise DisagreementError("a and b made different objects")
        return {}

    cases = [case("a", 1, output={"x"}), case("b", 1, output={"y"})]
    with pytest.raises(DisagreementError, match="different objects"):
        measure(PreparedBenchmark("s", cases, agree=agree), 1, ignored)


def test_a_benchmark_may_set_fewer_rounds() -> None:
    findings = measure(PreparedBenchmark("s", [case("a", 1, 2)], rounds=1), 5, ignored)
    assert findings.rounds == 1


@contextmanager
def nothing(_: Conditions) -> Iterator[PreparedBenchmark]:
    """Prepare a case that does nothing."""
    yield PreparedBenchmark("s", [case("a", 1)])


def test_a_report_says_all_of_it_in_each_of_its_forms() -> None:
    findings = two_cases(Goal(of="theirs", to="ours", limit=3.0))
    machine = {"cores": "2"}
    report = BenchmarkReport(
        Benchmark("this", "what", nothing), "s", findings, 0.5, 7.0, machine, {"boto3": "1.40"}
    )
    told = json.loads(json.dumps(report.as_json()))
    assert told["ratios"][0]["median"] == 2.0
    assert told["ratios"][0]["is_met"] is False
    written = report.as_markdown()
    assert "| theirs / ours | 2.00 | 1 to 4 | at least 3: missed |" in written
    assert "3 rounds, 7 s in all; at a scale of 0.5; boto3 1.40" in written


def test_scaled_input_is_never_empty(tmp_path: Path) -> None:
    assert Conditions(tmp_path, scale=0.001).scaled(10) == 1


def test_all_benchmarks_are_listed() -> None:
    done = CliRunner().invoke(main, ["--list"])
    assert done.exit_code == 0
    assert "\npolicy " in f"\n{done.output}"


def test_an_unknown_benchmark_is_named_beside_those_that_there_are() -> None:
    done = CliRunner().invoke(main, ["unpack-shrot"])
    assert done.exit_code == 2
    assert "no benchmark is called 'unpack-shrot': " in done.output
