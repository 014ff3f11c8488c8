"""Opens untrusted media with FFmpeg: one demuxer, audio decoders only, no other files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn, cast

import av

# PyAV imports it when it meets subtitles, and the child can import nothing any more.
import av.subtitles.codeccontext
from av.audio.stream import AudioStream
from av.container import InputContainer

from consumers.audio.fileview import FileView, whole
from consumers.errors import BadAudioError

_TOLERANT_PYAV = 19
_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


class NoAudioStreamError(BadAudioError):
    """There is none; ``seconds`` says how long it is, as far as that is known."""

    def __init__(self, seconds: float) -> None:
        super().__init__("it has no audio stream")
        self.seconds = seconds


def open_media(
    source: int | FileView, demuxer: str | None, options: Mapping[str, str] = _NO_OPTIONS
) -> InputContainer:
    """Open a file for its sound.

    Args:
        source: What to read and seek in; a descriptor stays open.
        demuxer: FFmpeg's name of the only demuxer that may read it; None: FFmpeg's probe chooses
            one of those that the options allow.
        options: The demuxer's own.

    Raises:
        av.FFmpegError: The demuxer cannot read it.
    """
    if isinstance(source, int):
        source = FileView(source, whole(source))
    container: InputContainer = av.open(
        cast("Any", source),
        "r",
        format=demuxer,
        # Not options=, which PyAV also applies to the streams found first: PyAV 15.0
        # crashes where more appear later.
        container_options={
            **options,
            "protocol_whitelist": "pipe",
            "codec_whitelist": _audio_decoders(),
        },
        io_open=_refuse,
        **_tolerance(),
    )
    return container


def audio_streams(container: InputContainer) -> list[AudioStream]:
    """Return the streams of sound, also those whose codec is not supported.

    Raises:
        NoAudioStreamError: There is none.
    """
    streams = list(container.streams.audio)
    if not streams:
        raise NoAudioStreamError((container.duration or 0) / av.time_base)
    return streams


def is_decodable(stream: AudioStream) -> bool:
    """Whether there is a decoder for its codec."""
    context: object = stream.codec_context
    return context is not None


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
