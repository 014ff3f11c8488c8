"""Tells whether the sound of a file is encrypted; FFmpeg decodes that to noise and errors."""

from __future__ import annotations

from consumers.audio.fileview import FileView

_SEARCHED_BYTES = 1 << 20
_BOX_HEADER = 8
_MOST_BOXES = 1000

# Objects of an ASF header: Content Encryption, Extended and Advanced Content Encryption.
_ASF_OBJECTS = tuple(
    map(
        bytes.fromhex,
        (
            "fbb3112223bdd211b4b700a0c955fc6e",
            "14e68a292226174cb935dae07ee9289c",
            "338505438169e6499b74ad12cb86d58c",
        ),
    )
)
# Sample entries of encrypted sound (ISO/IEC 14496-12, 8.12; Apple's and Audible's), and the box
# that says how it is encrypted.
_MP4_ENTRIES = (b"enca", b"drms", b"aavd")
_MP4_SCHEME = b"sinf"


def is_protected(view: FileView, demuxer: str) -> bool:
    """Whether the header says that the sound is encrypted."""
    if demuxer == "asf":
        head = view.peek(0, _SEARCHED_BYTES)
        size = int.from_bytes(head[16:24], "little")
        return any(name in head[:size] for name in _ASF_OBJECTS)
    if demuxer == "mov":
        movie = _movie(view)
        return _MP4_SCHEME in movie and any(entry in movie for entry in _MP4_ENTRIES)
    return False


def _movie(view: FileView) -> bytes:
    """Return the beginning of the movie box."""
    position = 0
    for _ in range(_MOST_BOXES):
        header = view.peek(position, 2 * _BOX_HEADER)
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[_BOX_HEADER:], "big")
        if header[4:_BOX_HEADER] == b"moov":
            return view.peek(position, min(size, _SEARCHED_BYTES))
        if size < _BOX_HEADER:
            break
        position += size
    return b""
