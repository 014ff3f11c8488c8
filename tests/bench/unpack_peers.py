"""Scripts that do the work of the route ``unpack``, and the codec alone.

The scripts download, ``tar -x``, convert on all cores and upload: one after the other. The codec
decodes, mixes down and encodes in memory, on all cores, and does nothing else.
"""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import chain
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import av
from boto3.s3.transfer import TransferConfig, create_transfer_manager

from consumers.audio.media import OpusSettings
from consumers.audio.opus import encoder_options
from consumers.network.aws import make_client

#: Under which the results go: ``scripts/{way}/{member's name}.opus``.
PREFIX = "scripts"

Convert = Callable[[Sequence[Path]], None]


def script_ordinal(key: str) -> int:
    """Read the ordinal of a result: members' names are numbers."""
    return int(key.rpartition("/")[2].partition(".")[0])


def unpack_by_ffmpeg(variables: Mapping[str, str], archive: str) -> None:
    """Convert by ``xargs`` and the FFmpeg command, a process per recording."""
    _run(variables, "ffmpeg", _by_ffmpeg, archive)


def unpack_by_pydub(variables: Mapping[str, str], archive: str) -> None:
    """Convert by pydub, in a pool with a process per core."""
    _run(variables, "pydub", _by_pydub, archive)


def _run(variables: Mapping[str, str], way: str, convert: Convert, archive: str) -> None:
    client = make_client(
        "s3",
        endpoint=variables["S3_ENDPOINT"],
        access_key=variables["S3_ACCESS_KEY"],
        secret_key=variables["S3_SECRET_KEY"],
        region="us-east-1",
        connections=16,
    )
    bucket = variables["S3_BUCKET"]
    with tempfile.TemporaryDirectory(dir=variables["SCRATCH_ROOT"]) as name:
        folder = Path(name)
        client.download_file(bucket, archive, str(folder / "archive"))
        (folder / "in").mkdir()
        argv = ["tar", "-x", "-f", str(folder / "archive"), "-C", str(folder / "in")]
        subprocess.run(argv, check=True)
        convert(sorted((folder / "in").iterdir()))
        _upload(client, bucket, f"{PREFIX}/{way}", sorted(folder.glob("in/*.opus")))


def _by_ffmpeg(paths: Sequence[Path]) -> None:
    # Told no format, FFmpeg makes two channels that are alike 3 dB louder.
    output = ["-ac", "1", "-ar", "16000", "-sample_fmt", "s16"]
    codec = ["-c:a", "libopus", "-b:a", "24k", "-application", "voip"]
    xargs = ["xargs", "-0", "-P", str(_cores()), "-I", "@"]
    ffmpeg = ["ffmpeg", "-nostdin", "-v", "error", "-i", "@", *output, *codec, "@.opus"]
    subprocess.run([*xargs, *ffmpeg], input="\0".join(map(str, paths)).encode(), check=True)


def _by_pydub(paths: Sequence[Path]) -> None:
    with Pool(_cores()) as pool:
        pool.map(_convert_by_pydub, paths, chunksize=1)


def _convert_by_pydub(path: Path) -> None:
    from pydub import AudioSegment  # noqa: PLC0415

    sound: Any = AudioSegment.from_file(path).set_frame_rate(16_000).set_channels(1)
    sound.export(f"{path}.opus", format="opus", codec="libopus", bitrate="24k").close()


def _upload(client: Any, bucket: str, prefix: str, paths: Sequence[Path]) -> None:
    """Upload by boto3's transfer manager, ten at a time."""
    with create_transfer_manager(client, TransferConfig()) as manager:
        uploads = [manager.upload(str(path), bucket, f"{prefix}/{path.name}") for path in paths]
        for upload in uploads:
            upload.result()


def _cores() -> int:
    return len(os.sched_getaffinity(0))


#: Clips that a process takes at a time.
_TAKEN = 4


@contextmanager
def codec_alone(folder: Path) -> Iterator[Callable[[str], int]]:
    """Make a worker that transcodes all MP3 files of a folder, from memory.

    It gives how many bytes of Opus came of them.
    """
    clips = [path.read_bytes() for path in sorted(folder.iterdir())]
    with Pool(len(os.sched_getaffinity(0))) as pool:

        def work(_: str) -> int:
            convert = partial(transcode_in_memory, OpusSettings())
            return sum(pool.imap_unordered(convert, clips, chunksize=_TAKEN))

        yield work


def transcode_in_memory(settings: OpusSettings, mp3: bytes) -> int:
    """Transcode one clip; gives the Opus' size in bytes."""
    target = io.BytesIO()
    with (
        av.open(io.BytesIO(mp3), "r", format="mp3") as source,
        av.open(target, "w", format="ogg") as sink,
    ):
        stream = sink.add_stream(
            "libopus", rate=settings.sample_rate, options=encoder_options(settings)
        )
        stream.bit_rate = settings.bit_rate
        stream.layout = "mono"
        stream.format = "s16"
        resampler = av.AudioResampler("s16", "mono", settings.sample_rate, settings.sample_rate)
        source.streams.audio[0].codec_context.thread_count = 1
        samples = 0
        for frame in chain(source.decode(audio=0), [None]):
            for block in resampler.resample(frame):
                block.pts, block.time_base = samples, Fraction(1, settings.sample_rate)
                samples += block.samples
                sink.mux(stream.encode(block))
        sink.mux(stream.encode(None))
    return len(target.getvalue())
