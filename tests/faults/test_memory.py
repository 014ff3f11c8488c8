"""A consumer takes no more memory after many deliveries than after some."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from events.keys import BatchId
from tests.faults.conftest import eventually, whole
from tests.harness.deployment.cluster import Cluster

#: Archives, and the recordings of each.
FEW, MANY = 10, 50
RECORDINGS = 10

#: Bytes that may vary with the work in hand.
SLACK = 4 << 20


def done(here: Cluster, batches: Sequence[BatchId]) -> int:
    """Count the batches that are ready for review."""
    with here.database._transaction() as connection:
        row = connection.execute(
            "SELECT count(*) AS done FROM batches "
            "WHERE itemised_at IS NOT NULL AND batch_id = ANY(%(batches)s)",
            {"batches": [str(batch) for batch in batches]},
        ).fetchone()
    assert row is not None
    number = row["done"]
    assert isinstance(number, int)
    return number


@pytest.mark.timeout(900)
def test_memory_does_not_grow_between_a_hundred_and_five_hundred_deliveries(here: Cluster) -> None:
    """Deliveries of recordings; routes of whole batches have a tenth of them."""
    taken: list[dict[str, int]] = []
    batches: list[BatchId] = []
    for number in (FEW, MANY):
        while len(batches) < number:
            batches.append(here.drop(Random(len(batches)), recordings=RECORDINGS))
        eventually(here, lambda number=number: done(here, batches) == number, 400)  # type: ignore[misc]
        taken.append({each.name: each.process.resident_bytes() for each in here.fleet.consumers})
    few, many = taken
    print(few, many)  # noqa: T201
    assert few.keys() == many.keys()
    for name, bytes_ in many.items():
        assert bytes_ < few[name] + SLACK
    whole(here, *batches[::10])
