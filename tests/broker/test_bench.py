"""The benchmark `events` with few of them, and without the peers that an extra brings."""

from __future__ import annotations

import json
from pathlib import Path

from events.notification import decode
from tests.bench.benchmark import Conditions
from tests.bench.event_messages import store_messages
from tests.bench.events import events


def test_benchmark_messages_are_those_of_a_store() -> None:
    events = [event for letter in store_messages(3) for event in decode(letter.body)]
    assert [event.key.rpartition("-")[2] for event in events] == [
        "0000000.opus",
        "0000001.opus",
        "0000002.opus",
    ]
    assert {event.source for event in events} == {"ceph"}


def test_dropscribe_and_kombu_take_all_there_are_and_leave_none(tmp_path: Path) -> None:
    with events.prepare(Conditions(tmp_path, scale=0.004)) as prepared:
        cases = {case.name: case for case in prepared.cases}
        for name in ("dropscribe", "kombu"):
            taken, left = cases[name].run().output
            assert (taken.count, taken.distinct, left) == (200, 200, 0)
            assert taken.seconds > 0
    lines = (tmp_path / "consumer.log").read_text().splitlines()
    assert sum(json.loads(line)["event"] == "delivery" for line in lines) == 200
