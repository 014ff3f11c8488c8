"""The confined child: ``python -m consumers.audio.child FD``, FD being its end of the socket.

The parent's first message holds the settings and limits. The child confines itself,
transcodes a moment of known sound (if the confinement broke transcoding, every recording
would seem broken), and reports that it is ready. Each later message is one file: its
demuxer, and two descriptors, to read from and to write to. The child acknowledges the
file before it looks at it.

It starts with SIGTERM, SIGINT and SIGHUP blocked, and ends when the socket is closed or
by SIGKILL: the parent's, or the kernel's when the parent ends.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from consumers.audio.confinement import confine, die_with_parent, start_cpu_budget
from consumers.audio.media import MediaLimits, OpusSettings, Transcoded
from consumers.audio.messages import MessageSocket, PeerGoneError
from consumers.audio.probe import probe
from consumers.audio.transcode import TranscodeOptions, transcode
from consumers.errors import BadAudioError, TransientError, UnknownFormatError

_FILES_OF_A_JOB = 2
_PROGRESS_SECONDS = 1.0
_MOST_DAMAGED = 0.75
"""Of a file whose format was guessed; beyond, the guess was wrong."""


def main(arguments: list[str]) -> int:
    """Serve files until the parent closes the socket."""
    with MessageSocket(socket.socket(fileno=int(arguments[0]))) as channel:
        try:
            job = _begin(channel)
            while True:
                _serve(channel, job)
        except PeerGoneError:
            return 0


def _begin(channel: MessageSocket) -> TranscodeOptions:
    setup: dict[str, Any] = channel.receive()
    job = TranscodeOptions(
        demuxer="wav",
        opus=OpusSettings(**setup["opus"]),
        limits=MediaLimits(**setup["limits"]),
        silence_dbfs=setup["silence_dbfs"],
    )
    die_with_parent(setup["parent"])
    source, output = os.memfd_create("known"), os.memfd_create("opus")
    os.write(source, _known_sound())
    # Python and PyAV import on first use: that must happen while files can be opened.
    _try_out(source, output, job)
    confinement = confine(job.limits)
    _try_out(source, output, job)
    os.close(source)
    os.close(output)
    gc.collect()
    gc.freeze()
    channel.send({"ready": confinement})
    return job


def _try_out(source: int, output: int, job: TranscodeOptions) -> None:
    os.lseek(source, 0, os.SEEK_SET)
    probe(source)
    transcode(source, output, job, progress=lambda _: None)


def _serve(channel: MessageSocket, job: TranscodeOptions) -> None:
    message, files = channel.receive_with_files(_FILES_OF_A_JOB)
    try:
        source, output = files
        channel.send({"taken": True})
        progress = _Progress(channel, time.monotonic)
        if message["demuxer"] is None:
            answer = _answer(job, lambda: _transcode_probed(source, output, job, progress))
        else:
            known = dataclasses.replace(job, demuxer=str(message["demuxer"]))
            answer = _answer(job, lambda: transcode(source, output, known, progress))
    finally:
        for file in files:
            os.close(file)
    # PyAV 19 keeps filter graphs in reference cycles; Python does not count the memory
    # that they hold, and would collect them too late.
    gc.collect()
    channel.send(answer)


def _answer(job: TranscodeOptions, work: Callable[[], Transcoded]) -> Mapping[str, object]:
    start_cpu_budget(job.limits.cpu_seconds)
    try:
        transcoded = work()
    except UnknownFormatError as exc:
        return {"unknown": str(exc)}
    except BadAudioError as exc:
        return {"bad": str(exc)}
    except TransientError as exc:
        return {"transient": str(exc)}
    except MemoryError:
        return {"bad": f"it takes more than {job.limits.memory_bytes >> 20} MiB of memory"}
    finally:
        start_cpu_budget(0)
    return {"transcoded": transcoded.to_message()}


def _transcode_probed(
    source: int, output: int, job: TranscodeOptions, progress: Callable[[float], None]
) -> Transcoded:
    guess = probe(source)
    job = dataclasses.replace(job, demuxer=guess.demuxer, start=guess.start)
    try:
        transcoded = transcode(source, output, job, progress)
    except BadAudioError as exc:
        raise BadAudioError(f"not a known audio format; read as {guess}, {exc}") from exc
    damaged = sum((note.end or 0) - (note.start or 0) for note in transcoded.notes if note.is_loss)
    if damaged > _MOST_DAMAGED * transcoded.duration:
        raise UnknownFormatError(
            f"not a known audio format; read as {guess}, most of it is damaged"
        )
    return dataclasses.replace(transcoded, notes=(guess.note, *transcoded.notes))


class _Progress:
    """Reports the seconds decoded so far to the parent, once a second at most."""

    def __init__(self, channel: MessageSocket, clock: Callable[[], float]) -> None:
        self._channel = channel
        self._clock = clock
        self._reported = clock()

    def __call__(self, seconds: float) -> None:
        now = self._clock()
        if now - self._reported >= _PROGRESS_SECONDS:
            self._reported = now
            self._channel.send({"seconds": seconds})


def _known_sound() -> bytes:
    """Return half a second of sound as a WAV file: 8 kHz, 16 bits.

    Two square waves on two channels, so that what judges channels is tried, too.
    """
    left, right = [3000] * 8 + [-3000] * 8, [2000, 2000, -2000, -2000] * 4
    pcm = struct.pack(
        "<32h", *(sample for pair in zip(left, right, strict=True) for sample in pair)
    )
    pcm *= 250
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 8000, 32000, 4, 16)
    data = struct.pack("<4sI", b"data", len(pcm)) + pcm
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
