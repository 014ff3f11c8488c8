"""`first-object`: how long after an archive's event its first Opus object lies in the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice

from tests.bench.benchmark import (
    Benchmark,
    Case,
    Conditions,
    Goal,
    PreparedBenchmark,
    Sample,
)
from tests.bench.mp3_clips import mp3_clips
from tests.bench.unpack_servers import UnpackServers, first_object_unpacker, open_unpack_servers
from tests.bench.worker_process import worker_process

_SIZES = {"50 MB": 50_000_000, "500 MB": 500_000_000, "5 GB": 5_000_000_000}

#: Distinct clips, which the archives repeat.
_DISTINCT = 20


@contextmanager
def _prepare(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    clips = mp3_clips(_DISTINCT)
    mean = sum(map(len, clips)) / len(clips)
    with open_unpack_servers(conditions.folder) as servers:
        warm = servers.store_archive("warm", clips[:4])
        cases = []
        for name, size in _SIZES.items():
            count = max(1, round(size * conditions.scale / mean))
            archive = servers.store_archive(name.replace(" ", "-"), islice(cycle(clips), count))
            cases.append(_case(name, servers, warm, archive))
        yield PreparedBenchmark(
            "s",
            cases,
            [Goal(of="5 GB", to="50 MB", bound="at most", limit=1.5)],
            packages=("av", "boto3"),
        )


def _case(name: str, servers: UnpackServers, warm: str, archive: str) -> Case:
    """Time until the first object; the consumer is killed then, and another one is made."""

    def run() -> Sample:
        with worker_process(first_object_unpacker, servers.variables, warm) as worker:
            done = worker.do(archive)
        servers.clear()
        return Sample(done.seconds, done.facts)

    return Case(name, run)


FIRST_OBJECT = Benchmark(
    "first-object", "archives of 50 MB, 500 MB and 5 GB, until the first Opus object", _prepare
)
