"""Splits a file into the complete files that somebody joined to it; usually it is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from consumers.audio.chunks import CHUNKED, chunked_sections
from consumers.audio.claims import claimed_seconds
from consumers.audio.fileview import FileView, Piece, Span, whole
from consumers.audio.framed import Hole, frames_only
from consumers.audio.section import Section, moved
from consumers.audio.transport import transport_joints
from consumers.audio.wavpack import wavpack_sections

_BLOCK = 1 << 20

_OGG_HEADER = 27
_OGG_SEGMENTS = 255
_OGG_BEGIN = 0x02
_OGG_END = 0x04
# A larger jump of the pages' numbers is no gap.
_OGG_MOST_MISSING = 100_000

_EBML_HEADER = b"\x1aE\xdf\xa3"
_EBML_SEGMENT = b"\x18S\x80g"

_BOX_HEADER = 16
_BOX_LONG = 1


def sections(source: int, demuxer: str, start: int = 0) -> Iterator[Section]:
    """Yield the sections of a file of one format, which begins at an offset, to its end."""
    (file,) = whole(source)
    view = FileView(source, (Span(start, len(file)),))

    def claimed(pieces: tuple[Piece, ...]) -> float | None:
        return claimed_seconds(FileView(source, moved(pieces, start)), demuxer)

    for section in _sections(view, demuxer, claimed):
        yield section.moved(start)


def _sections(
    view: FileView, demuxer: str, claimed: Callable[[tuple[Piece, ...]], float | None]
) -> Iterator[Section]:
    if demuxer in CHUNKED:
        yield from chunked_sections(view, demuxer)
        return
    if demuxer == "ogg":
        yield from _ogg_sections(view)
        return
    if demuxer == "wv":
        yield from wavpack_sections(view, _found)
        return
    begin = 0
    for start in (*_joints(view, demuxer), view.size):
        pieces, holes = frames_only(view, Span(begin, start), demuxer)
        yield Section(pieces, claimed(pieces), holes=tuple(holes))
        begin = start


def _joints(view: FileView, demuxer: str) -> Iterator[int]:
    """Find where further files begin."""
    finder = _JOINTS.get(demuxer)
    return iter(()) if finder is None else finder(view)


def _ogg_sections(view: FileView) -> Iterator[Section]:
    """Find chained streams, and whether each has an end (RFC 3533, 4 and 6)."""
    begin, page, has_begun, ends = 0, 0, False, False
    numbers: dict[bytes, int] = {}
    holes: list[Hole] = []
    position: int | None = 0
    while position is not None:
        header = view.peek(position, _OGG_HEADER + _OGG_SEGMENTS)
        if not header.startswith(b"OggS") or len(header) < _OGG_HEADER:
            # The rest of a file is searched only if there may be something.
            position = _found(view, b"OggS", position + 1) if header else None
            ends = ends and position is None
            continue
        is_first = bool(header[5] & _OGG_BEGIN)
        if is_first and has_begun:
            yield Section(
                (Span(begin, position),), end_page=page - begin, ends=ends, holes=tuple(holes)
            )
            begin = position
            holes.clear()
        has_begun, page = not is_first, position
        segments = header[_OGG_HEADER - 1]
        size = _OGG_HEADER + segments + sum(header[_OGG_HEADER : _OGG_HEADER + segments])
        stream, number = header[14:18], int.from_bytes(header[18:22], "little")
        missing = number - numbers.get(stream, number) - 1
        if 0 < missing <= _OGG_MOST_MISSING and not is_first:
            # Those that are missing were about as large as this one.
            holes.append(Hole(page - begin, missing * size))
        numbers[stream] = number
        position += size
        ends = bool(header[5] & _OGG_END) and position <= view.size
    yield Section((Span(begin, view.size),), end_page=page - begin, ends=ends, holes=tuple(holes))


def _repeated(
    magic: bytes, behind: bytes = b"", offset: int = 0
) -> Callable[[FileView], Iterator[int]]:
    """Return a function that finds all occurrences but the first, if others follow at an offset."""

    def joints(view: FileView) -> Iterator[int]:
        position = _found(view, magic, 0)
        while position is not None:
            position = _found(view, magic, position + 1)
            if position is not None and view.peek(position + offset, len(behind)) == behind:
                yield position

    return joints


def _mov_joints(view: FileView) -> Iterator[int]:
    """Find further file type boxes behind a movie box (ISO/IEC 14496-12, 4.2)."""
    position, has_movie = 0, False
    while len(header := view.peek(position, _BOX_HEADER)) >= _BOX_HEADER // 2:
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == _BOX_LONG:
            size = int.from_bytes(header[8:], "big")
        if kind == b"ftyp" and has_movie:
            yield position
            has_movie = False
        has_movie |= kind == b"moov"
        if size < _BOX_HEADER // 2:  # to the end of the file, or nonsense
            return
        position += size


def _matroska_joints(view: FileView) -> Iterator[int]:
    """Find EBML headers behind a segment (RFC 8794, 8 and RFC 9559, 4.5)."""
    position = 0
    while (header := view.peek(position, 12))[:4] in (_EBML_HEADER, _EBML_SEGMENT):
        if position and header.startswith(_EBML_HEADER):
            yield position
        size = _ebml_size(header[4:])
        if size is None:
            return
        position += size


def _ebml_size(field: bytes) -> int | None:
    """Return the bytes of a header of four bytes, this field and the body; None: unknown."""
    if not field or not field[0]:
        return None
    width = 9 - field[0].bit_length()
    if len(field) < width:
        return None
    unknown = (1 << 7 * width) - 1
    size = int.from_bytes(field[:width], "big") & unknown
    return None if size == unknown else 4 + width + size


_JOINTS: dict[str, Callable[[FileView], Iterator[int]]] = {
    "flac": _repeated(b"fLaC\x00\x00\x00\x22"),
    "amr": _repeated(b"#!AMR"),
    "asf": _repeated(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")),
    "flv": _repeated(b"FLV\x01", b"\0\0\0\x09\0\0\0\0", 5),
    "tta": _repeated(b"TTA1\x01\0"),
    "au": _repeated(b".snd\0\0\0"),
    "voc": _repeated(b"Creative Voice File\x1a"),
    "mov": _mov_joints,
    "mpegts": transport_joints,
    "matroska": _matroska_joints,
}


def _found(view: FileView, magic: bytes, start: int) -> int | None:
    """Search for bytes from an offset on."""
    tail, position = b"", start
    while block := view.peek(position, _BLOCK):
        at = (tail + block).find(magic)
        if at >= 0:
            return position - len(tail) + at
        position += len(block)
        tail = (tail + block)[1 - len(magic) :]
    return None
