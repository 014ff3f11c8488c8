"""A consumer takes no more memory after many deliveries than after some."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import psutil
import pytest

from events.keys import BatchId
from ops.soak.fleet import Consumer
from ops.soak.site import Site
from tests.faults.conftest import eventually, whole

FEW, MANY = 100, 1000

#: Bytes that may come and go with what is in hand.
SLACK = 8 << 20


def resident(consumer: Consumer) -> int:
    """Bytes that the consumer and its transcoders have in memory."""
    process = psutil.Process(consumer.process.pid)
    family = [process, *process.children(recursive=True)]
    return sum(each.memory_info().rss for each in family)


def done(here: Site, batches: Sequence[BatchId]) -> int:
    """Count the batches that are ready for review."""
    ids = {str(batch) for batch in batches}
    rows = here.database.batches(len(here.plans))
    return sum(1 for row in rows if str(row.batch) in ids and row.itemised_at)


@pytest.mark.timeout(900)
def test_after_a_thousand_deliveries_as_after_a_hundred(here: Site) -> None:
    """Each archive is one delivery to each consumer, as it holds one recording."""
    taken: list[dict[str, int]] = []
    batches: list[BatchId] = []
    for number in (FEW, MANY):
        while len(batches) < number:
            batches.append(here.drop(Random(len(batches)), recordings=1))
        eventually(here, lambda number=number: done(here, batches) == number, 400)  # type: ignore[misc]
        taken.append({each.name: resident(each) for each in here.fleet.consumers})
    few, many = taken
    print(few, many)  # noqa: T201
    assert few.keys() == many.keys()
    for name, bytes_ in many.items():
        assert bytes_ < few[name] + SLACK
    whole(here, *batches)
