"""`unpack-short`, `unpack-long`, `unpack-limit`: archives to Opus, from bucket to bucket."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

from tests.bench.benchmark import (
    Benchmark,
    Case,
    Conditions,
    DisagreementError,
    Goal,
    PreparedBenchmark,
    Sample,
)
from tests.bench.codec import codec_alone
from tests.bench.mp3_clips import mp3_clips, mp3_recording
from tests.bench.scripts import PREFIX, ffmpeg_script, pydub_script, script_ordinal
from tests.bench.unpack_servers import (
    StoredAudio,
    UnpackServers,
    open_unpack_servers,
    own_ordinal,
    unpacker,
)
from tests.bench.worker_process import OpenWorker, worker_process
from tests.harness.servers.process import require

OURS, FFMPEG, PYDUB = "dropscribe", "ffmpeg script", "pydub script"
_SHORT, _CODEC = "dropscribe, short", "codec alone"

#: Clips that are made; more of them are the same ones again.
_DISTINCT = 200

#: By how much durations (s) and levels (dB) of one recording may differ.
_SAME_SECONDS, _SAME_LEVEL = 0.1, 1.0

_PACKAGES = ("av", "boto3", "pydub")

_INSTALL = "apt-get install --no-install-recommends ffmpeg"


#: Each way to unpack: its worker, the prefix of its results, and how their ordinals are read.
_WAYS: Mapping[str, tuple[OpenWorker, str, Callable[[str], int]]] = {
    FFMPEG: (ffmpeg_script, f"{PREFIX}/ffmpeg/", script_ordinal),
    PYDUB: (pydub_script, f"{PREFIX}/pydub/", script_ordinal),
}
_OUR_WAY = (unpacker, "processed/", own_ordinal)


class _Cases:
    """Makes cases, each with a process of its own, which end with a stack."""

    def __init__(self, servers: UnpackServers, stack: ExitStack) -> None:
        self._servers = servers
        self._stack = stack

    def unpack(self, name: str, archive: str) -> Case:
        """Time a way to unpack an archive; its output is compared and removed."""
        make, prefix, ordinal = _WAYS.get(name, _OUR_WAY)
        worker = self._stack.enter_context(worker_process(make, self._servers.variables))

        def run() -> Sample:
            done = worker.do(archive)
            sample = Sample(done.seconds, done.facts, self._servers.listen(prefix, ordinal))
            self._servers.clear()
            return sample

        return Case(name, run)

    def codec(self, folder: Path) -> Case:
        worker = self._stack.enter_context(worker_process(codec_alone, folder))

        def run() -> Sample:
            done = worker.do("")
            return Sample(done.seconds, done.facts)

        return Case(_CODEC, run)


@contextmanager
def _short(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    require(["ffmpeg", "ffprobe", "tar", "xargs"], _INSTALL)
    count = conditions.scaled(2000)
    with open_unpack_servers(conditions.folder) as servers, ExitStack() as stack:
        archive = _stored(servers, conditions.folder, "short", _clips(count), "gz")
        cases = _Cases(servers, stack)
        yield PreparedBenchmark(
            "s",
            [cases.unpack(name, archive) for name in (OURS, FFMPEG, PYDUB)],
            [Goal(of=FFMPEG, to=OURS, limit=2.0), Goal(of=PYDUB, to=OURS, limit=3.5)],
            _agreement(count, [OURS, FFMPEG, PYDUB]),
            _PACKAGES,
        )


@contextmanager
def _long(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    require(["ffmpeg", "ffprobe", "tar", "xargs"], _INSTALL)
    recordings = [mp3_recording(3600 * conditions.scale)] * 8
    with open_unpack_servers(conditions.folder) as servers, ExitStack() as stack:
        archive = _stored(servers, conditions.folder, "long", recordings)
        clips = _clips(max(50, conditions.scaled(400)))
        short = _stored(servers, conditions.folder, "short", clips, "gz")
        cases = _Cases(servers, stack)
        yield PreparedBenchmark(
            "s",
            [
                *(cases.unpack(name, archive) for name in (OURS, FFMPEG, PYDUB)),
                cases.unpack(_SHORT, short),
            ],
            [
                Goal(of=FFMPEG, to=OURS, limit=1.4),
                Goal(of=PYDUB, to=OURS),
                Goal(of=OURS, to=_SHORT, bound="at most", limit=1.2, fact="peak MB"),
            ],
            _agreement(len(recordings), [OURS, FFMPEG, PYDUB]),
            _PACKAGES,
        )


@contextmanager
def _limit(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    clips = list(_clips(conditions.scaled(2000)))
    folder = conditions.folder / "clips"
    folder.mkdir()
    for number, clip in enumerate(clips):
        (folder / f"{number:06}.mp3").write_bytes(clip)
    with open_unpack_servers(conditions.folder) as servers, ExitStack() as stack:
        archive = _stored(servers, conditions.folder, "short", clips, "gz")
        cases = _Cases(servers, stack)
        yield PreparedBenchmark(
            "s",
            [cases.unpack(OURS, archive), cases.codec(folder)],
            [Goal(of=_CODEC, to=OURS, limit=0.85)],
            _agreement(len(clips), [OURS]),
            _PACKAGES,
        )


def _clips(count: int) -> Iterable[bytes]:
    """Give so many clips."""
    distinct = [clip.mp3 for clip in mp3_clips(min(count, _DISTINCT))]
    return islice(cycle(distinct), count)


def _stored(
    servers: UnpackServers,
    folder: Path,
    name: str,
    recordings: Iterable[bytes],
    kind: Literal["", "gz"] = "",
) -> str:
    """Pack recordings, whose names are numbers, and store them; gives the archive's key."""
    key = f"archives/{name}.tar{f'.{kind}' if kind else ''}"
    path = folder / "packed"
    with path.open("wb") as file:
        pack(file, recordings, kind)
    servers.put(key, path)
    path.unlink()
    return key


def pack(
    file: io.BufferedWriter, recordings: Iterable[bytes], kind: Literal["", "gz"] = ""
) -> None:
    """Write recordings, whose names are numbers, as a tar archive."""
    with tarfile.open(fileobj=file, mode="w:gz" if kind else "w") as tar:
        for number, recording in enumerate(recordings):
            header = tarfile.TarInfo(f"{number:06}.mp3")
            header.size = len(recording)
            tar.addfile(header, io.BytesIO(recording))


def _agreement(
    count: int, names: Sequence[str]
) -> Callable[[Mapping[str, StoredAudio]], Mapping[str, float]]:
    """Make the comparison of the outputs of an archive."""

    def agree(heard: Mapping[str, StoredAudio]) -> Mapping[str, float]:
        for name in names:
            if heard[name].count != count:
                raise DisagreementError(f"{name} made {heard[name].count} of {count} recordings")
        first, *others = (heard[name].sounds for name in names)
        seconds = level = 0.0
        for place, (duration, loudness) in first.items():
            for other in others:
                seconds = max(seconds, abs(other[place][0] - duration))
                level = max(level, abs(other[place][1] - loudness))
        if seconds > _SAME_SECONDS or level > _SAME_LEVEL:
            raise DisagreementError(
                f"durations differ by {seconds:.2f} s, levels by {level:.1f} dB"
            )
        return {
            "largest difference in duration, s": seconds,
            "largest difference in level, dB": level,
        }

    return agree


UNPACK_SHORT = Benchmark(
    "unpack-short", "2,000 MP3 clips of 5-15 s in a tar.gz, from bucket to bucket", _short
)
UNPACK_LONG = Benchmark("unpack-long", "8 MP3 recordings of 1 h in a tar, the same", _long)
UNPACK_LIMIT = Benchmark(
    "unpack-limit", "the clips of unpack-short, against the codec alone in memory", _limit
)
