"""Workers that finish a batch's last recordings at the same instant."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from consumers.database.batches import BatchRepository
from consumers.database.migrate import migrate
from consumers.database.pool import open_pool
from consumers.database.rows import Recording
from consumers.documents.verdict import PolicyVerdict
from events.keys import AudioId, BatchId
from tests.harness.deployment.deployment import Deployment, record_ends

ROUNDS = 1000

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.fixture
def url(deployed: Deployment) -> str:
    """A database of this test's own."""
    url = deployed.servers.postgres.database()
    migrate(url)
    record_ends(url)
    return url


@pytest.fixture
def database(url: str) -> Iterator[BatchRepository]:
    database = BatchRepository(open_pool(url, size=12, name="test"))
    yield database
    database.close()


def sealed(url: str, workers: int, *, is_moderated: bool) -> list[BatchId]:
    """Make batches in which each worker has one recording left, to transcribe or to judge."""
    batches = [BatchId.new(NOW, number.to_bytes(3, "big")) for number in range(ROUNDS)]
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO batches (batch_id, sealed_at, is_moderated) VALUES (%s, now(), %s)",
            [(str(batch), is_moderated) for batch in batches],
        )
        cursor.execute(
            "INSERT INTO recordings (batch_id, ordinal, state, path) "
            "SELECT batch_id, ordinal, %s, '' FROM batches, generate_series(0, %s - 1) AS ordinal",
            ("transcribed" if is_moderated else "converted", workers),
        )
    return batches


def finish(database: BatchRepository, audio: AudioId, *, is_moderated: bool) -> None:
    """Write the row that is a recording's last."""
    if is_moderated:
        moderation = PolicyVerdict(str(audio), "unjudged", "nothing was said", None, None, None, ())
        database.put_moderation(audio, moderation)
    else:
        database.put_recording(Recording(audio, "transcribed", "a.wav"))


@pytest.mark.parametrize(("workers", "is_moderated"), [(2, False), (10, False), (10, True)])
def test_exactly_one_completes_it(
    database: BatchRepository, url: str, workers: int, *, is_moderated: bool
) -> None:
    batches = sealed(url, workers, is_moderated=is_moderated)
    barrier = threading.Barrier(workers)

    def work(ordinal: int) -> list[bool]:
        answers = []
        for batch in batches:
            audio = AudioId(batch, ordinal)
            barrier.wait(60)
            finish(database, audio, is_moderated=is_moderated)
            answers.append(database.complete(batch))
        return answers

    with ThreadPoolExecutor(workers) as executor:
        answers = list(executor.map(work, range(workers)))
    # Somebody is asked to announce each of them, and none completed twice.
    assert all(any(each[number] for each in answers) for number in range(ROUNDS))
    with psycopg.connect(url) as connection:
        ends = Counter(row[0] for row in connection.execute("SELECT what FROM soak_ends"))
    assert {ends[str(batch)] for batch in batches} == {1}
    assert ends.total() == ROUNDS * (workers + 1)
