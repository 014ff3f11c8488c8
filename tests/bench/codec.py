"""The codec alone: decode, mix down, encode, in memory, on all cores, and nothing else."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import chain
from multiprocessing import Pool
from pathlib import Path

import av

from consumers.audio.media import OpusSettings
from consumers.audio.opus import encoder_options

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
