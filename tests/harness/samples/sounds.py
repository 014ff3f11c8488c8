"""Sound made with numpy, and files of every format that hold it, made with PyAV or by hand."""

from __future__ import annotations

import io
import math
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from consumers.audio.channels import ChannelSetting
from consumers.audio.decode import decode_channels
from consumers.audio.media import MediaLimits, OpusSettings, Transcoded
from consumers.audio.opus import OpusWriter
from consumers.audio.pool import TranscoderPool
from consumers.audio.sniff import sniff
from consumers.audio.transcode import TranscodeOptions, transcode

Signal = NDArray[np.float32]
"""Mono, within [-1, 1]."""

SECONDS = 2.0
LEVEL_DBFS = -20.0

_PICTURES_A_SECOND = 25


def voice(seconds: float = SECONDS, rate: int = 16_000, level_dbfs: float = LEVEL_DBFS) -> Signal:
    """A vowel of sorts: harmonics of 140 Hz, swelling four times a second, at an RMS level."""
    time = np.arange(round(seconds * rate)) / rate
    harmonics = sum(np.sin(2 * math.pi * 140 * n * time) / n for n in range(1, 8))
    sound = harmonics * (0.6 + 0.4 * np.sin(2 * math.pi * 4 * time))
    scaled = sound / math.sqrt(float(np.mean(sound**2))) * 10 ** (level_dbfs / 20)
    return np.asarray(scaled, np.float32)


def silence(seconds: float = SECONDS, rate: int = 16_000) -> Signal:
    return np.zeros(round(seconds * rate), np.float32)


def dbfs(sound: Signal) -> float:
    """RMS, in dB of full scale."""
    return 20 * math.log10(math.sqrt(float(np.mean(sound.astype(np.float64) ** 2))))


@dataclass(frozen=True)
class Recipe:
    """How PyAV makes a file."""

    format: str
    codec: str
    rate: int = 44_100
    layout: str = "stereo"
    bit_rate: int = 0
    """0: the encoder's default."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Of the muxer."""
    codec_options: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    video: str | None = None


def made(recipe: Recipe, sound: Signal | None = None) -> bytes:
    """Encode a sound, sampled at the recipe's rate (``voice`` by default), into all channels."""
    sound = voice(rate=recipe.rate) if sound is None else sound
    file = io.BytesIO()
    with av.open(file, "w", format=recipe.format, options=dict(recipe.options)) as container:
        container.metadata.update(recipe.tags)
        audio = _audio_stream(container, recipe)
        video = _video_stream(container, recipe.video) if recipe.video else None
        if video:
            seconds = len(sound) / recipe.rate
            for picture in (*_pictures(seconds), None):
                container.mux(video.encode(picture))
        for frame in (*_frames(audio, recipe, sound), None):
            container.mux(audio.encode(frame))
    return file.getvalue()


def _audio_stream(container: Any, recipe: Recipe) -> AudioStream:
    options = dict(recipe.codec_options)
    stream = container.add_stream(recipe.codec, rate=recipe.rate, options=options)
    stream.codec_context.layout = recipe.layout
    if recipe.bit_rate:
        stream.codec_context.bit_rate = recipe.bit_rate
    formats = stream.codec_context.codec.audio_formats or []
    stream.codec_context.format = formats[0] if formats else "s16"
    assert isinstance(stream, AudioStream)
    return stream


def _frames(stream: AudioStream, recipe: Recipe, sound: Signal) -> list[AudioFrame]:
    channels = np.repeat(sound[np.newaxis], stream.codec_context.layout.nb_channels, axis=0)
    frame = AudioFrame.from_ndarray(channels, "fltp", recipe.layout)
    frame.sample_rate = recipe.rate
    frame.time_base = Fraction(1, recipe.rate)
    frame.pts = 0
    context = stream.codec_context
    return AudioResampler(context.format, context.layout, context.sample_rate).resample(frame)


def _video_stream(container: Any, codec: str) -> VideoStream:
    stream = container.add_stream(codec, rate=_PICTURES_A_SECOND)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    assert isinstance(stream, VideoStream)
    return stream


def _pictures(seconds: float) -> list[VideoFrame]:
    pictures = [VideoFrame(64, 48, "yuv420p") for _ in range(round(seconds * _PICTURES_A_SECOND))]
    for number, picture in enumerate(pictures):
        picture.pts, picture.time_base = number, Fraction(1, _PICTURES_A_SECOND)
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
    return pictures


def wav(
    sound: Signal,
    rate: int = 16_000,
    channels: int = 1,
    *,
    mask: int | None = None,
    data_size: int | None = None,
    before: bytes = b"",
) -> bytes:
    """A 16-bit WAV file by hand.

    Args:
        mask: Which loudspeakers the channels are for (WAVE_FORMAT_EXTENSIBLE); 0: not said.
        data_size: What the header claims; the truth by default.
        before: Chunks that come before the format's.
    """
    data = np.repeat((sound * 32767).astype("<i2")[:, np.newaxis], channels, axis=1).tobytes()
    tag = 1 if mask is None else 0xFFFE
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * channels * 2, channels * 2, 16)
    if mask is not None:
        pcm = bytes.fromhex("0100000000001000800000aa00389b71")
        form += struct.pack("<HHI", 22, 16, mask) + pcm
    claimed = len(data) if data_size is None else data_size
    body = b"WAVE" + before + chunk(b"fmt ", form) + struct.pack("<4sI", b"data", claimed) + data
    return struct.pack("<4sI", b"RIFF", min(len(body), 0xFFFF_FFFF)) + body


def stereo(left: Signal, right: Signal, rate: int = 16_000) -> bytes:
    """A 16-bit WAV file with a sound of its own on each of two channels."""
    interleaved = np.stack([left, right], axis=1).reshape(-1)
    # The header of twice as much mono sound, but for the two fields of its channels.
    header = bytearray(wav(interleaved, rate))
    header[22:24] = (2).to_bytes(2, "little")
    header[28:34] = (4 * rate).to_bytes(4, "little") + (4).to_bytes(2, "little")
    return bytes(header)


def chunk(name: bytes, body: bytes) -> bytes:
    """A RIFF chunk; an odd one is padded."""
    return struct.pack("<4sI", name, len(body)) + body + bytes(len(body) % 2)


def id3(size: int) -> bytes:
    """An ID3v2.4 tag with a comment that makes it this large."""
    body = b"COMM" + _synchsafe(size - 20) + b"\0\0" + b"\0eng\0" + b"x" * (size - 25)
    return b"ID3\x04\0\0" + _synchsafe(len(body)) + body


def _synchsafe(value: int) -> bytes:
    return bytes(value >> shift & 0x7F for shift in (21, 14, 7, 0))


def amr(seconds: float = SECONDS) -> bytes:
    """AMR-NB at 12.2 kbit/s: frames of 20 ms, all bits zero, which is a quiet hum."""
    frame = bytes([7 << 3 | 4]) + bytes(31)
    return b"#!AMR\n" + frame * round(seconds * 50)


def dsf(seconds: float = SECONDS) -> bytes:
    """A DSD file of a 2.8 MHz one-bit silence."""
    blocks = math.ceil(seconds * 2_822_400 / 8 / 4096)
    form = struct.pack(
        "<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 1, 1, 2_822_400, 1, blocks * 4096 * 8, 4096, 0
    )
    data = struct.pack("<4sQ", b"data", 12 + blocks * 4096) + b"\x69" * (blocks * 4096)
    return struct.pack("<4sQQQ", b"DSD ", 28, 28 + len(form) + len(data), 0) + form + data


def flac_with_covers(covers: int) -> bytes:
    """A FLAC file with cover pictures of 16 MiB; FFmpeg holds them all at once."""
    flac = made(Recipe("flac", "flac"))
    after_streaminfo = 4 + 4 + 34
    size = 0xFF_FFFF
    head = struct.pack(">II9sI5I", 3, 9, b"image/png", 0, 1, 1, 24, 0, size - 41)
    picture = (6 << 24 | size).to_bytes(4, "big") + head + bytes(size - len(head))
    return flac[:after_streaminfo] + picture * covers + flac[after_streaminfo:]


def transcoded(pool: TranscoderPool, media: bytes) -> tuple[Transcoded, bytes]:
    """Sniff and transcode a file: the facts, and the Opus."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(media)
        sniffed = sniff(source)
        assert sniffed.demuxer is not None, sniffed
        facts = pool.transcode(source, sniffed.demuxer, output)
        return facts, output.read()


def transcoded_here(
    media: bytes, channels: ChannelSetting = "auto", demuxer: str | None = None
) -> tuple[Transcoded, bytes]:
    """Sniff and transcode a file in this process: the facts, and the Opus."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(media)
        source.flush()
        demuxer = demuxer or sniff(source).demuxer
        assert demuxer is not None
        options = TranscodeOptions(demuxer, OpusSettings(channels=channels), MediaLimits(), -60.0)
        facts = transcode(source.fileno(), output.fileno(), options, lambda _: None)
        output.seek(0)
        return facts, output.read(facts.size)


def decoded(opus: bytes) -> Signal:
    """The mean of all channels."""
    mean: Signal = np.mean(decode_channels(io.BytesIO(opus)), axis=0, dtype=np.float32)
    return mean


def multichannel(sounds: Sequence[Signal]) -> bytes:
    """An Opus object as we store it, with a channel for each sound at 16 kHz."""
    with tempfile.TemporaryFile() as file:
        writer = OpusWriter(file.fileno(), OpusSettings(), len(sounds))
        writer.write((np.stack(sounds) * 32767).astype(np.int16))
        writer.finish()
        file.seek(0)
        return file.read()
