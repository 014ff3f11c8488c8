"""The benchmarks `latency` and `soak-memory` with few drops."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.benchmark import Conditions
from tests.bench.latency import latency
from tests.bench.memory import soak_memory

pytestmark = pytest.mark.store("ceph")


def test_latency_splits_into_the_stores_part_and_ours(tmp_path: Path) -> None:
    with latency.prepare(Conditions(tmp_path, scale=0.2)) as prepared:
        for case in prepared.cases:
            sample = case.run()
            parts = sum(sample.facts.values())
            assert sample.value > 0
            assert abs(sample.value - parts) < 0.01


def test_memory_is_measured_after_few_and_after_many_deliveries(tmp_path: Path) -> None:
    with soak_memory.prepare(Conditions(tmp_path, scale=0.001)) as prepared:
        megabytes = {case.name: case.run().value for case in prepared.cases}
    assert megabytes.keys() == {
        f"{route} after {number}"
        for route in ("unpack", "transcribe", "moderate", "review")
        for number in (1, 10)
    }
    # An interpreter with the libraries that it needs, and no model.
    assert all(50 < each < 500 for each in megabytes.values())
    assert {(goal.of, goal.to) for goal in prepared.goals} == {
        (f"{route} after 10", f"{route} after 1")
        for route in ("unpack", "transcribe", "moderate", "review")
    }
