"""`completion`: the database's cost of finishing a recording, in batches of any size."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from statistics import fmean, median
from typing import Any, LiteralString, Protocol

import structlog

from consumers.database.batches import BatchRepository
from consumers.database.pool import Connection, Pool, open_pool
from consumers.database.rows import Recording
from consumers.documents.transcript import Segment, Transcript, Word
from consumers.stages.completion import Completion
from consumers.store import Store
from events.keys import AudioId, BatchId
from tests.bench.batch_templates import FINISH, MEASURED, WARM, WARMING, Template, make_template
from tests.bench.benchmark import (
    Case,
    Conditions,
    DisagreementError,
    Goal,
    PreparedBenchmark,
    Sample,
    benchmark,
)
from tests.harness.servers.postgres import PostgresServer, postgres

_SAID = "so what I wanted to tell you is that nobody had ever asked him that"

_COUNT_UNFINISHED: LiteralString = """
    SELECT count(*) AS number
    FROM recordings
    WHERE batch_id = %(batch_id)s AND state = 'converted'
"""

_CLOSE: LiteralString = """
    UPDATE batches SET completed_at = now() WHERE batch_id = %(batch_id)s AND completed_at IS NULL
"""

_ADD: LiteralString = "UPDATE batches SET done = done + 1 WHERE batch_id = %(batch_id)s"

_CLOSE_COUNTED: LiteralString = """
    UPDATE batches
    SET completed_at = now()
    WHERE batch_id = %(batch_id)s AND done = total AND completed_at IS NULL
"""


class CompletionMethod(Protocol):
    """One way to do it."""

    @property
    def completions(self) -> int:
        """How often it said that the batch is complete."""

    def finish(self, audio: AudioId) -> None:
        """Put a recording's transcript on record, and complete its batch if it is the last."""


class KeyRecorder(Store):
    """A bucket that records the written keys; the store is no part of the figures."""

    def __init__(self) -> None:
        super().__init__(None, "none")
        self.written: list[str] = []

    def head(self, key: str) -> None:
        """Find nothing: there is no archive to tag."""
        del key

    def write(self, key: str, *_: Any, **__: Any) -> None:
        """Take note of a key."""
        self.written.append(key)


class OwnCompletion:
    """As the consumers do it."""

    def __init__(self, pool: Pool) -> None:
        self._database = BatchRepository(pool)
        self._shelf = KeyRecorder()
        log: Any = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])
        self._completion = Completion(self._shelf, self._database, log)

    @property
    def completions(self) -> int:
        """How many ``.complete.json`` were written."""
        return len(self._shelf.written)

    def finish(self, audio: AudioId) -> None:
        self._database.put_transcript(*transcribed(audio))
        self._completion.complete_if_done(audio.batch)


class CountCompletion(BatchRepository):
    """The same rows; then it is counted how many of the batch's are left."""

    completions = 0

    def finish(self, audio: AudioId) -> None:
        self.put_transcript(*transcribed(audio))
        with self._pool.connection() as connection:
            if self._completes(connection, {"batch_id": str(audio.batch)}):
                self.completions += 1

    def _completes(self, connection: Connection, batch: Mapping[str, str]) -> bool:
        row = connection.execute(_COUNT_UNFINISHED, batch).fetchone()
        is_last = row is not None and row["number"] == 0
        return is_last and connection.execute(_CLOSE, batch).rowcount > 0


class CounterCompletion(CountCompletion):
    """The same rows; in their transaction one is added to a number in the batch's row."""

    def _completes(self, connection: Connection, batch: Mapping[str, str]) -> bool:
        return connection.execute(_CLOSE_COUNTED, batch).rowcount > 0

    def _put_recording(self, connection: Connection, recording: Recording) -> None:
        super()._put_recording(connection, recording)
        connection.execute(_ADD, {"batch_id": str(recording.audio.batch)})


def transcribed(audio: AudioId) -> tuple[Recording, Transcript]:
    """Make the rows of ten seconds of speech."""
    words = tuple(
        Word(word, number * 0.7, number * 0.7 + 0.5, 0.9)
        for number, word in enumerate(_SAID.split())
    )
    text = f"{_SAID} {audio.ordinal}"
    segments = (Segment(0.0, 10.0, text, None, words),)
    return (
        Recording(
            audio=audio,
            state="transcribed",
            path=f"tapes/{audio.ordinal}.mp3",
            duration=10.5,
            codec="mp3",
            sample_rate=44100,
            channels=2,
            loudness_dbfs=-23.5,
            source_sha256="0" * 64,
            opus_key=audio.opus_key,
            transcript_key=audio.transcript_key,
        ),
        Transcript(str(audio), "transcribed", None, 10.5, "en", 0.9, "tiny", None, segments),
    )


def finish_unmeasured(pool: Pool, batch: BatchId, ordinals: range) -> None:
    """Finish recordings that are not measured, all at once, for each way."""
    given = {"batch": str(batch), "first": ordinals.start, "end": ordinals.stop}
    with pool.connection() as connection:
        connection.execute(FINISH, given)
        connection.execute(
            "UPDATE batches SET done = done + %(end)s - %(first)s WHERE batch_id = %(batch)s", given
        )


#: The two that are compared come one after the other, as a machine is not the same for long.
_SIZES = (100, 10_000, 100_000, 1_000, 1_000_000)
_SMALL = 1_000
_WORKERS = (1, 8)

#: Recordings that each run finishes, of those that counting takes longest for, and where.
_MEASURED, _COUNTED, _LARGE = 500, 48, 50_000

_OURS, _COUNT, _ROW = "ours", "count(*)", "counter row"

#: What it waits for the disk is the same for each size and hides all else, and a vacuum would
#: come in some runs and not in others.
_CONFIG: dict[str, str | int] = {"fsync": "off", "autovacuum": "off", "max_wal_size": "4GB"}

#: By how much a recording may cost more in the largest batch.
_FLAT = 1.2


@benchmark(
    "completion",
    "what finishing a recording costs the database, but for its disk, in batches of any size",
)
def completion(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    most = max(conditions.scaled(_SIZES[-1]), _SMALL)
    sizes = [size for size in _SIZES if size <= most]
    with postgres(_CONFIG) as server:
        yield PreparedBenchmark(
            "ms per recording",
            list(_cases(server, sizes)),
            [goal for workers in _WORKERS for goal in _goals(sizes[-1], workers)],
            _agree,
            ("psycopg", "psycopg-pool"),
        )


def _name(way: str, size: int, workers: int) -> str:
    return f"{way}, {size:,} rows, {workers} worker{'s' if workers > 1 else ''}"


def _cases(server: PostgresServer, sizes: Sequence[int]) -> Iterator[Case]:
    templates = {size: make_template(server, size, min(_MEASURED, size)) for size in sizes}
    ends = (_SMALL, sizes[-1])
    ways: Sequence[tuple[str, Callable[[Pool], CompletionMethod], Sequence[int]]] = (
        (_OURS, OwnCompletion, sizes),
        (_COUNT, CountCompletion, ends),
        (_ROW, CounterCompletion, ends),
    )
    for workers in _WORKERS:
        for way, make, measured in ways:
            for size in measured:
                most = _COUNTED if way == _COUNT and size > _LARGE else _MEASURED
                yield Case(
                    _name(way, size, workers), partial(_run, templates[size], make, workers, most)
                )


def _goals(largest: int, workers: int) -> Iterator[Goal]:
    ours = _name(_OURS, largest, workers)
    yield Goal(ours, _name(_OURS, _SMALL, workers), "at most", _FLAT)
    for peer in (_COUNT, _ROW):
        yield Goal(_name(peer, largest, workers), ours)
        yield Goal(_name(peer, largest, workers), _name(peer, _SMALL, workers), "at most")


def _run(
    template: Template, way: Callable[[Pool], CompletionMethod], workers: int, most: int
) -> Sample:
    """Finish the last recordings of a batch; those with which it ends have a time of their own."""
    first, end = template.size - template.left, template.size - workers
    measured = range(first, min(end, first + most))
    with (
        template.copied() as url,
        closing(open_pool(url, size=workers, name="bench")) as pool,
    ):
        database, doing = BatchRepository(pool), way(pool)
        _finish(doing, [AudioId(WARMING, ordinal) for ordinal in range(WARM // 2)], workers)
        times = _finish(doing, [AudioId(MEASURED, ordinal) for ordinal in measured], workers)
        finish_unmeasured(pool, MEASURED, range(measured.stop, end))
        early = doing.completions
        last = range(end, template.size)
        ending = _finish(doing, [AudioId(MEASURED, ordinal) for ordinal in last], workers)
        left, _ = database.unfinished(MEASURED)
    return Sample(
        1000 * median(times),
        {"mean ms": 1000 * fmean(times), "last ones ms": 1000 * max(ending)},
        {"early": early, "completions": doing.completions, "left": left},
    )


def _finish(doing: CompletionMethod, audios: list[AudioId], workers: int) -> list[float]:
    """Let workers finish recordings at the same time; returns the seconds of each."""
    barrier = threading.Barrier(workers)

    def work(number: int) -> list[float]:
        barrier.wait()
        times = []
        for audio in audios[number::workers]:
            begin = time.perf_counter()
            doing.finish(audio)
            times.append(time.perf_counter() - begin)
        return times

    with ThreadPoolExecutor(workers) as executor:
        return [seconds for times in executor.map(work, range(workers)) for seconds in times]


def _agree(outputs: Mapping[str, Mapping[str, int]]) -> Mapping[str, float]:
    """Make sure that each batch was completed, and not before its end.

    It is completed once. Who looks at ours between that and its announcement announces it,
    too, so that one who dies in between does no harm.
    """
    for name, found in outputs.items():
        once = 1 if _OURS not in name else max(1, found["completions"])
        if found != {"early": 0, "completions": once, "left": 0}:
            raise DisagreementError(f"{name}: {found}")
    return {}
