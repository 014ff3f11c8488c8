"""Archives to Opus, from bucket to bucket.

`unpack-short`, `unpack-long` and `unpack-limit` time whole archives, `first-object` the way to
the first object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tests.bench.benchmark import (
    Case,
    Conditions,
    DisagreementError,
    Goal,
    PreparedBenchmark,
    Sample,
    benchmark,
)
from tests.bench.clips import mp3_clips, mp3_recording
from tests.bench.unpack_peers import (
    PREFIX,
    codec_alone,
    script_ordinal,
    unpack_by_ffmpeg,
    unpack_by_pydub,
)
from tests.bench.unpack_servers import (
    StoredAudio,
    UnpackServers,
    first_object_unpacker,
    open_unpack_servers,
    own_ordinal,
    unpacker,
)
from tests.bench.worker_process import WorkerProcess, ready, worker_process
from tests.harness.servers.process import require

OURS, FFMPEG, PYDUB = "dropscribe", "ffmpeg script", "pydub script"
_SHORT, _CODEC = "dropscribe, short", "codec alone"

#: Clips that are made; more of them are the same ones again.
_DISTINCT = 200

#: By how much durations (s) and levels (dB) of one recording may differ.
_SAME_SECONDS, _SAME_LEVEL = 0.1, 1.0

_PACKAGES = ("av", "boto3", "pydub")

_PROGRAMS = ("ffmpeg", "ffprobe", "tar", "xargs")
_INSTALL = "apt-get install --no-install-recommends ffmpeg"


_ALL = (OURS, FFMPEG, PYDUB)

#: Each way to unpack: its worker, the prefix of its results, and how their ordinals are read.
_WAYS: Mapping[str, tuple[tuple[object, ...], str, Callable[[str], int]]] = {
    FFMPEG: ((ready, unpack_by_ffmpeg), f"{PREFIX}/ffmpeg/", script_ordinal),
    PYDUB: ((ready, unpack_by_pydub), f"{PREFIX}/pydub/", script_ordinal),
}
_OUR_WAY = ((unpacker,), "processed/", own_ordinal)


class _Site:
    """Makes cases, each with a process of its own, which end with a stack."""

    def __init__(self, servers: UnpackServers, stack: ExitStack) -> None:
        self.store_archive = servers.store_archive
        self._servers = servers
        self._stack = stack

    def unpack(self, name: str, archive: str) -> Case:
        """Time a way to unpack an archive; its output is compared and removed."""
        worker, prefix, ordinal = _WAYS.get(name, _OUR_WAY)
        process = self._process(*worker, self._servers.variables)

        def run() -> Sample:
            done = process.do(archive)
            sample = Sample(done.seconds, done.facts, self._servers.listen(prefix, ordinal))
            self._servers.clear()
            return sample

        return Case(name, run)

    def codec(self, folder: Path) -> Case:
        process = self._process(codec_alone, folder)

        def run() -> Sample:
            done = process.do("")
            return Sample(done.seconds, done.facts)

        return Case(_CODEC, run)

    def _process(self, *worker: Any) -> WorkerProcess:
        return self._stack.enter_context(worker_process(*worker))


@contextmanager
def _site(conditions: Conditions) -> Iterator[_Site]:
    with open_unpack_servers(conditions.folder) as servers, ExitStack() as stack:
        yield _Site(servers, stack)


@benchmark("unpack-short", "2,000 MP3 clips of 5-15 s in a tar.gz, from bucket to bucket")
def unpack_short(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    require(_PROGRAMS, _INSTALL)
    count = conditions.scaled(2000)
    with _site(conditions) as site:
        archive = site.store_archive("short", _clips(count), "gz")
        yield PreparedBenchmark(
            "s",
            [site.unpack(name, archive) for name in _ALL],
            [Goal(of=FFMPEG, to=OURS, limit=2.0), Goal(of=PYDUB, to=OURS, limit=3.5)],
            partial(_agree, count, _ALL),
            _PACKAGES,
        )


@benchmark("unpack-long", "8 MP3 recordings of 1 h in a tar, the same")
def unpack_long(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    require(_PROGRAMS, _INSTALL)
    recordings = [mp3_recording(3600 * conditions.scale)] * 8
    clips = _clips(max(50, conditions.scaled(400)))
    with _site(conditions) as site:
        archive = site.store_archive("long", recordings)
        short = site.store_archive("short", clips, "gz")
        yield PreparedBenchmark(
            "s",
            [*(site.unpack(name, archive) for name in _ALL), site.unpack(_SHORT, short)],
            [
                Goal(of=FFMPEG, to=OURS, limit=1.4),
                Goal(of=PYDUB, to=OURS),
                Goal(of=OURS, to=_SHORT, bound="at most", limit=1.2, fact="peak MB"),
            ],
            partial(_agree, len(recordings), _ALL),
            _PACKAGES,
        )


@benchmark("unpack-limit", "the clips of unpack-short, against the codec alone in memory")
def unpack_limit(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    clips = list(_clips(conditions.scaled(2000)))
    folder = conditions.folder / "clips"
    folder.mkdir()
    for number, clip in enumerate(clips):
        (folder / f"{number:06}.mp3").write_bytes(clip)
    with _site(conditions) as site:
        archive = site.store_archive("short", clips, "gz")
        yield PreparedBenchmark(
            "s",
            [site.unpack(OURS, archive), site.codec(folder)],
            [Goal(of=_CODEC, to=OURS, limit=0.85)],
            partial(_agree, len(clips), [OURS]),
            _PACKAGES,
        )


def _clips(count: int) -> Iterable[bytes]:
    return islice(cycle(mp3_clips(min(count, _DISTINCT))), count)


def _agree(
    count: int, names: Sequence[str], outputs: Mapping[str, StoredAudio]
) -> Mapping[str, float]:
    """Compare the outputs of an archive."""
    for name in names:
        if outputs[name].count != count:
            raise DisagreementError(f"{name} made {outputs[name].count} of {count} recordings")
    first, *others = (outputs[name].sounds for name in names)
    seconds = level = 0.0
    for place, (duration, loudness) in first.items():
        for other in others:
            seconds = max(seconds, abs(other[place][0] - duration))
            level = max(level, abs(other[place][1] - loudness))
    if seconds > _SAME_SECONDS or level > _SAME_LEVEL:
        raise DisagreementError(f"durations differ by {seconds:.2f} s, levels by {level:.1f} dB")
    return {
        "largest difference in duration, s": seconds,
        "largest difference in level, dB": level,
    }


_SIZES = {"50 MB": 50_000_000, "500 MB": 500_000_000, "5 GB": 5_000_000_000}

#: Distinct clips, which the archives repeat.
_FEW = 20


@benchmark("first-object", "archives of 50 MB, 500 MB and 5 GB, until the first Opus object")
def first_object(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    clips = mp3_clips(_FEW)
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
