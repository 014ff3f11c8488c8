"""Files of several tracks, whose packets have any times."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame

from tests.harness.samples.sounds import Signal

_PICTURES_A_SECOND = 5

Times = Callable[[float], float]
"""The time in the container for a time in the sound, in seconds."""


@dataclass(frozen=True)
class SoundTrack:
    """A track of a file."""

    codec: str
    sound: Signal
    """Sampled at the rate."""
    rate: int = 48_000
    layout: str = "mono"
    times: Times = lambda time: time
    """Must not go back."""


def muxed(
    container_format: str, tracks: Sequence[SoundTrack], *, video: float = 0, **options: str
) -> bytes:
    """Make a file.

    Args:
        container_format: FFmpeg's name of the muxer.
        tracks: Its tracks of sound.
        video: Seconds of pictures, from the container's start on.
        options: The muxer's.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=container_format, options=options) as container:
        picture: Any = None
        if video:
            picture = container.add_stream(
                "flv1" if container_format == "flv" else "mpeg4", rate=_PICTURES_A_SECOND
            )
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        streams = [_stream(container, track) for track in tracks]
        packets = _pictures(picture, video) if video else []
        for track, stream in zip(tracks, streams, strict=True):
            packets += _packets(track, stream)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return file.getvalue()


def _stream(container: Any, track: SoundTrack) -> Any:
    stream = container.add_stream(track.codec, rate=track.rate)
    context = stream.codec_context
    context.layout = track.layout
    context.format = (context.codec.audio_formats or ["s16"])[0]
    context.time_base = Fraction(1, track.rate)
    return stream


def _packets(track: SoundTrack, stream: Any) -> list[Any]:
    context = stream.codec_context
    channels = np.repeat(track.sound[np.newaxis], context.layout.nb_channels, axis=0)
    frame = AudioFrame.from_ndarray(channels, "fltp", track.layout)
    frame.sample_rate, frame.pts, frame.time_base = track.rate, 0, Fraction(1, track.rate)
    resampler = av.AudioResampler(context.format, context.layout, track.rate)
    packets = []
    for piece in (*resampler.resample(frame), None):
        packets += stream.encode(piece)
    for packet in packets:
        time = float(packet.pts * packet.time_base)
        packet.pts = round(track.times(time) / packet.time_base)
        packet.dts = min(packet.pts, round((time + 60) / packet.time_base))
    return packets


def _pictures(stream: Any, seconds: float) -> list[Any]:
    packets = []
    for number in range(round(seconds * _PICTURES_A_SECOND)):
        image = av.VideoFrame(64, 48, "yuv420p")
        image.pts, image.time_base = number, Fraction(1, _PICTURES_A_SECOND)
        packets += stream.encode(image)
    return [*packets, *stream.encode(None)]
