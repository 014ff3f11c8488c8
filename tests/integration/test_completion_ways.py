"""Whichever way it is found out: of those who finish at once, one completes the batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from consumers.database.batches import BatchRepository
from consumers.database.pool import Pool
from events.keys import AudioId
from tests.bench.completion import (
    CompletionMethod,
    CountCompletion,
    CounterCompletion,
    OwnCompletion,
    finish_unmeasured,
)
from tests.integration.test_completion import converted, registered

WORKERS, RECORDINGS = 8, 64


@pytest.mark.parametrize("make", [OwnCompletion, CountCompletion, CounterCompletion])
@pytest.mark.parametrize("skipped", [0, 40])
def test_a_batch_is_completed_by_whoever_finishes_its_last_recording(
    database: BatchRepository, make: Callable[[Pool], CompletionMethod], skipped: int
) -> None:
    batch = registered(database)
    audios = [AudioId(batch, ordinal) for ordinal in range(RECORDINGS)]
    for audio in audios:
        database.put_recording(converted(audio))
    database.seal(batch, rejected=0, ignored=0, failure=None)
    with database._transaction() as connection:
        connection.execute("ALTER TABLE batches ADD done integer DEFAULT 0, ADD total integer")
        connection.execute("UPDATE batches SET total = %s", [RECORDINGS])
    way = make(database._pool)
    finish_unmeasured(database._pool, batch, range(skipped))
    assert way.completions == 0
    barrier = threading.Barrier(WORKERS)

    def work(number: int) -> None:
        barrier.wait(30)
        for audio in audios[skipped + number :: WORKERS]:
            way.finish(audio)

    with ThreadPoolExecutor(WORKERS) as executor:
        list(executor.map(work, range(WORKERS)))
    # Ours is announced by each who looks before that is on record.
    assert way.completions == 1 or (make is OwnCompletion and way.completions > 1)
    row = database.batch(batch)
    assert row is not None
    assert row.completed_at is not None
    assert database.unfinished(batch) == (0, 0)
