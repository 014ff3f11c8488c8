"""Make ``sample.tar`` and ``script.json`` beside this file.

Run it by hand to change the sample::

    apt-get install espeak-ng
    python -m ops.sample.make_sample

The archive has every kind of member: spoken recordings in several encodings, a silent one, a
broken one, and a file that is not a recording. The same versions of espeak-ng and PyAV give
the same bytes, as the archive has fixed times and no owner. Sentences, voice and speed were
chosen so that Whisper tiny.en, the embedded default, recognises every word.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np

HERE = Path(__file__).parent
VOICE = ["-v", "en-us", "-s", "150", "-p", "55"]
# Without it the muxers write their version into the file.
BITEXACT = {"fflags": "+bitexact"}
MEMBER_TIME = 1_750_600_000  # 2025-06-22, in seconds since 1970


@dataclass(frozen=True, slots=True)
class SpokenRecording:
    """A recording to synthesise: ``rate`` in Hz; the path's suffix decides on MP3 or WAV."""

    path: str
    rate: int
    layout: Literal["mono", "stereo"]
    words: str


SPOKEN = (
    SpokenRecording(
        "interviews/01 river.mp3",
        44_100,
        "stereo",
        "The river was very quiet this morning, and we walked home along the water.",
    ),
    SpokenRecording(
        "interviews/02 railway.wav",
        8_000,
        "mono",
        "My grandfather worked on the railway for many years.",
    ),
    SpokenRecording(
        "voicemail/appointment.mp3",
        8_000,
        "mono",
        "Please call me after lunch. I would like to change my appointment.",
    ),
    SpokenRecording(
        "voicemail/café.wav",
        44_100,
        "stereo",
        "The coffee is on the table.",
    ),
    SpokenRecording(
        "voicemail/weather.mp3",
        44_100,
        "stereo",
        "Tomorrow will be cold and windy, with heavy rain in the afternoon.",
    ),
)
NOTES = "These recordings were spoken by espeak-ng. This file is no recording: it is ignored.\n"


def speak(words: str) -> bytes:
    """Synthesise words with espeak-ng: a WAV file, 22,050 Hz mono."""
    command = ["espeak-ng", *VOICE, "--stdout", words]
    return subprocess.run(command, check=True, capture_output=True).stdout


def encode(wav: bytes, spoken: SpokenRecording) -> bytes:
    """Convert a WAV file to the recording's format and rate."""
    is_mp3 = spoken.path.endswith(".mp3")
    target = io.BytesIO()
    with (
        av.open(io.BytesIO(wav), "r") as source,
        av.open(target, "w", format="mp3" if is_mp3 else "wav", options=BITEXACT) as sink,
    ):
        stream = sink.add_stream("libmp3lame" if is_mp3 else "pcm_s16le", rate=spoken.rate)
        stream.layout = spoken.layout
        if is_mp3:
            stream.bit_rate = 24_000 if spoken.layout == "mono" else 64_000
        resampler = av.AudioResampler(stream.format, spoken.layout, spoken.rate)
        for frame in source.decode(audio=0):
            for piece in resampler.resample(frame):
                sink.mux(stream.encode(piece))
        for piece in resampler.resample(None):
            sink.mux(stream.encode(piece))
        sink.mux(stream.encode(None))
    return target.getvalue()


def silence(seconds: int) -> bytes:
    """Make a WAV file of zeros, 8 kHz mono."""
    target = io.BytesIO()
    with av.open(target, "w", format="wav", options=BITEXACT) as sink:
        stream = sink.add_stream("pcm_s16le", rate=8_000)
        stream.layout = "mono"
        zeros = np.zeros((1, 8_000 * seconds), np.int16)
        frame = av.AudioFrame.from_ndarray(zeros, format="s16", layout="mono")
        frame.sample_rate = 8_000
        sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return target.getvalue()


def broken_mp3() -> bytes:
    """Make an ID3 tag followed by text, which no decoder accepts."""
    # The tag's size is four bytes of seven bits each: here, 128.
    tag = b"ID3\x03\x00\x00" + b"\x00\x00\x01\x00" + bytes(128)
    return tag + b"The upload stopped here. " * 80


def members() -> Iterator[tuple[str, bytes]]:
    """Yield paths and contents in the archive's order."""
    for spoken in SPOKEN:
        yield spoken.path, encode(speak(spoken.words), spoken)
    yield "interviews/broken.mp3", broken_mp3()
    yield "voicemail/silence.wav", silence(3)
    yield "notes.txt", NOTES.encode()


def make(folder: Path) -> None:
    """Write ``sample.tar`` and ``script.json`` into a folder."""
    with tarfile.open(folder / "sample.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in members():
            header = tarfile.TarInfo(path)
            header.size = len(content)
            header.mtime = MEMBER_TIME
            archive.addfile(header, io.BytesIO(content))
    script = {spoken.path: spoken.words for spoken in SPOKEN}
    text = json.dumps(script, indent=2, ensure_ascii=False) + "\n"
    (folder / "script.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    make(HERE)
