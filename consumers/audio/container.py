"""Opens untrusted media with FFmpeg: one demuxer, audio decoders only, no other files."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from typing import Any, NoReturn

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from consumers.errors import BadAudioError

_TOLERANT_PYAV = 19


def open_media(source: int, demuxer: str) -> InputContainer:
    """Open a file for its sound.

    Args:
        source: Descriptor to read and seek in; it stays open.
        demuxer: FFmpeg's name of the only demuxer that may read it.

    Raises:
        av.FFmpegError: The demuxer cannot read it.
    """
    container: InputContainer = av.open(
        io.FileIO(source, closefd=False),
        "r",
        format=demuxer,
        # Not options=, which PyAV also applies to the streams found first: PyAV 15.0
        # crashes where more appear later.
        container_options={"protocol_whitelist": "pipe", "codec_whitelist": _audio_decoders()},
        io_open=_refuse,
        **_tolerance(),
    )
    return container


def best_stream(container: InputContainer) -> AudioStream:
    """Choose the audio stream that FFmpeg would play.

    Raises:
        BadAudioError: There is none, or its codec is not supported.
    """
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        raise BadAudioError("it has no audio stream")
    if stream.codec_context is None:
        raise BadAudioError("its audio codec is not supported")
    # Decoder threads cost memory, and the child may start none.
    stream.codec_context.thread_count = 1
    return stream


def _tolerance() -> dict[str, Any]:
    """Accept tags that are not UTF-8, as PyAV does by default from 19 on."""
    before = int(av.__version__.partition(".")[0]) < _TOLERANT_PYAV
    return {"metadata_errors": "replace"} if before else {}


@functools.cache
def _audio_decoders() -> str:
    return ",".join(sorted(filter(_decodes_audio, av.codecs_available)))


def _decodes_audio(name: str) -> bool:
    try:
        return av.Codec(name, "r").type == "audio"
    except ValueError:  # an encoder's name
        return False


def _refuse(url: str, flags: int, options: Mapping[str, str]) -> NoReturn:
    del flags, options
    raise BadAudioError(f"it refers to another file, which is not followed: {url!r:.80}")
