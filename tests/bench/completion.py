"""`completion`: the database's cost of finishing a recording, in batches of any size."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from statistics import fmean, median

from consumers.database.batches import BatchRepository
from consumers.database.pool import Pool, open_pool
from events.keys import AudioId
from tests.bench.batch_templates import MEASURED, WARM, WARMING, Template, make_template
from tests.bench.benchmark import (
    Benchmark,
    Case,
    Conditions,
    DisagreementError,
    Goal,
    PreparedBenchmark,
    Sample,
)
from tests.bench.completion_methods import (
    CompletionMethod,
    CountCompletion,
    CounterCompletion,
    OwnCompletion,
    finish_unmeasured,
)
from tests.harness.servers.postgres import PostgresServer, postgres

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


@contextmanager
def _prepare(conditions: Conditions) -> Iterator[PreparedBenchmark]:
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


COMPLETION = Benchmark(
    "completion",
    "what finishing a recording costs the database, but for its disk, in batches of any size",
    _prepare,
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
