"""A consumer takes no more memory after many deliveries than after some."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import psycopg
import pytest

from events.keys import BatchId
from tests.faults.conftest import eventually, whole
from tests.harness.deployment.cluster import Cluster

#: Archives, and the recordings of each.
FEW, MANY = 10, 100
RECORDINGS = 10

#: Bytes that may vary with the work in hand.
SLACK = 8 << 20


def done(here: Cluster, batches: Sequence[BatchId]) -> int:
    """Count the batches that are ready for review."""
    with psycopg.connect(here.deployment.url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM batches WHERE itemised_at IS NOT NULL AND batch_id = ANY(%s)",
            [[str(batch) for batch in batches]],
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.timeout(900)
def test_memory_does_not_grow_between_a_hundred_and_a_thousand_deliveries(here: Cluster) -> None:
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
