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
from tests.bench.unpack import pack
from tests.bench.unpack_servers import UnpackServers, first_object_unpacker, open_unpack_servers
from tests.bench.worker_process import worker_process

_SIZES = {"50 MB": 50_000_000, "500 MB": 500_000_000, "5 GB": 5_000_000_000}

#: Distinct clips, which the archives repeat.
_DISTINCT = 20

_WARM = "archives/warm.tar"


@contextmanager
def _prepare(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    clips = [clip.mp3 for clip in mp3_clips(_DISTINCT)]
    mean = sum(map(len, clips)) / len(clips)
    with open_unpack_servers(conditions.folder) as servers:
        counts = {
            name: max(1, round(size * conditions.scale / mean)) for name, size in _SIZES.items()
        }
        for key, count in (_WARM, 4), *((_key(name), count) for name, count in counts.items()):
            path = conditions.folder / "packed"
            with path.open("wb") as file:
                pack(file, islice(cycle(clips), count))
            servers.put(key, path)
            path.unlink()
        yield PreparedBenchmark(
            "s",
            [_case(name, servers) for name in _SIZES],
            [Goal(of="5 GB", to="50 MB", bound="at most", limit=1.5)],
            packages=("av", "boto3"),
        )


def _case(name: str, servers: UnpackServers) -> Case:
    """Time until the first object; the consumer is killed then, and another one is made."""

    def run() -> Sample:
        with worker_process(first_object_unpacker, servers.variables, _WARM) as worker:
            done = worker.do(_key(name))
        servers.clear()
        return Sample(done.seconds, done.facts)

    return Case(name, run)


def _key(name: str) -> str:
    return f"archives/{name.replace(' ', '-')}.tar"


FIRST_OBJECT = Benchmark(
    "first-object", "archives of 50 MB, 500 MB and 5 GB, until the first Opus object", _prepare
)
