"""Finds the sound in files of chunks (WAV, Wave64, AIFF, CAF) whose headers may be wrong.

A header can be from before the end of its recording, or have too few bits for the size; and a
file can be several that somebody joined. FFmpeg believes the first header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from consumers.audio.fileview import FileView, Piece, Span
from consumers.audio.section import Section

_LEAST_SECONDS = 0.5
"""Less than that behind the declared end is taken for something other than sound."""
_BLOCK = 1 << 20
_MOST_CHUNKS = 10_000
_FORMAT_BYTES = 64
_MAGIC_BYTES = 16

# Sizes that programs write into a header before they know them, and may never replace.
_PLACEHOLDERS = frozenset({0, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000, 2**63 - 1, 2**64 - 1})
_ALMOST_4_GIB = 0xFFFF_0000
_IN_DS64 = 0xFFFF_FFFF
_LONG_MAGICS = (b"RF64", b"BW64")
_NO_SIZE = 2**64 - 1
_TO_THE_END: Mapping[str, str] = MappingProxyType({"ignore_length": "1"})

# Microsoft's tags of sample formats in which each sample has the same size.
_PCM_TAGS = frozenset({1, 3, 6, 7, 0xFFFE})
# Those in which each block has so many samples as the format says (MS and IMA ADPCM, GSM).
_BLOCK_TAGS = frozenset({2, 0x11, 0x31})
_BLOCK_FORMAT_BYTES = 20
# AIFF-C's, with the bytes of a sample where they do not follow from the bits.
_AIFC_SAMPLES = {
    b"NONE": 0, b"sowt": 0, b"twos": 0, b"raw ": 0, b"in24": 3, b"in32": 4, b"fl32": 4,
    b"FL32": 4, b"fl64": 8, b"FL64": 8, b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Form:
    """How a format writes its chunks."""

    magics: tuple[bytes, ...]
    kinds: tuple[bytes, ...]
    """What stands eight bytes behind a magic; empty: anything."""
    head: int
    """Bytes before the first chunk."""
    name: int
    """Bytes of a chunk's name; its size follows."""
    size: str
    """How the size is written, for ``struct``."""
    align: int
    format: bytes
    """The chunk that describes the sound."""
    data: bytes
    """The chunk that holds it."""
    includes_header: bool = False
    """Whether a chunk's size does."""
    before_sound: int = 0
    """Bytes of the data chunk before the sound."""

    @property
    def header(self) -> int:
        return self.name + struct.calcsize(self.size)

    def begins(self, head: bytes) -> bool:
        """Whether these are the first bytes of such a file."""
        return head.startswith(self.magics) and (not self.kinds or head[8:12] in self.kinds)


def _guid(name: bytes) -> bytes:
    return name + bytes.fromhex("f3acd3118cd100c04f8edb8a")


_W64_MAGIC = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_RIFF = _Form((b"RIFF", b"RF64", b"BW64"), (b"WAVE",), 12, 4, "<I", 2, b"fmt ", b"data")
_W64 = _Form(
    (_W64_MAGIC,), (), 40, 16, "<Q", 8, _guid(b"fmt "), _guid(b"data"), includes_header=True
)
_AIFF = _Form((b"FORM",), (b"AIFF", b"AIFC"), 12, 4, ">I", 2, b"COMM", b"SSND", before_sound=8)
_CAF = _Form((b"caff",), (), 8, 4, ">Q", 1, b"desc", b"data", before_sound=4)

CHUNKED = {"wav": (_RIFF,), "w64": (_W64,), "aiff": (_AIFF,), "caf": (_CAF,)}
"""The formats, by FFmpeg's name of the demuxer."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    body: int
    length: int

    def next(self, align: int) -> int:
        return self.body + -(-self.length // align) * align


@dataclass(frozen=True, slots=True)
class _Rest:
    """What follows the declared end of the sound."""

    junk: int | None = None
    """Where bytes begin that are no chunk."""
    joined: int | None = None
    """Where another file begins."""
    more_sound: tuple[Span, ...] = ()
    """What further data chunks hold."""


def chunked_sections(view: FileView, demuxer: str) -> Iterator[Section]:
    """Yield the files of which a file consists, each with its true length."""
    begin: int | None = 0
    while begin is not None:
        head = view.peek(begin, _MAGIC_BYTES)
        form = next((form for form in CHUNKED[demuxer] if form.begins(head)), None)
        if form is None:
            yield Section((Span(begin, view.size),))
            return
        section, begin = _File(view, form, begin).section()
        yield section


class _File:
    """One file, from ``begin`` on."""

    def __init__(self, view: FileView, form: _Form, begin: int) -> None:
        self._view = view
        self._form = form
        self._begin = begin
        self._rate = 0.0
        """Bytes of sound per second; 0: unknown."""
        self._long_size: int | None = None
        self._unpadded: list[int] = []
        """Where a byte is missing behind a chunk of odd size."""

    def section(self) -> tuple[Section, int | None]:
        """Return it, and where the next one begins."""
        data = self._data()
        if data is None or not self._rate:
            return Section(self._pieces(self._view.size)), None
        start = data.body + self._form.before_sound
        claimed = data.length - self._form.before_sound
        there = self._view.size - start
        rest = self._rest(data) if claimed <= there else _Rest()
        is_placeholder = data.length in _PLACEHOLDERS or data.length >= _ALMOST_4_GIB
        if claimed > there or (is_placeholder and rest.junk == data.next(self._form.align)):
            return self._to_the_end(data, None if is_placeholder else claimed)
        if rest.junk is not None:
            return self._with_junk(data, claimed, rest)
        end = self._view.size if rest.joined is None else rest.joined
        seconds = (claimed + sum(map(len, rest.more_sound))) / self._rate
        if rest.more_sound and self._form in CHUNKED["wav"]:
            # FFmpeg reads the last chunk of sound only.
            pieces = *self._pieces(data.next(1)), *rest.more_sound
            return Section(pieces, seconds, seconds, _TO_THE_END), rest.joined
        return Section(self._pieces(end), seconds, seconds), rest.joined

    def _with_junk(self, data: _Chunk, claimed: int, rest: _Rest) -> tuple[Section, int | None]:
        """Take what is right behind the declared end for sound, if it is long enough."""
        assert rest.junk is not None  # noqa: S101 - for the type checker
        behind = self._view.size - rest.junk
        seconds = (claimed + sum(map(len, rest.more_sound))) / self._rate
        if behind / self._rate < _LEAST_SECONDS or self._is_zero(rest.junk):
            return Section(self._pieces(self._view.size), seconds, seconds), None
        if rest.junk <= data.next(self._form.align):
            return self._to_the_end(data, claimed)
        return Section(self._pieces(rest.junk), seconds, seconds, unread=behind), None

    def _to_the_end(self, data: _Chunk, claimed: int | None) -> tuple[Section, int | None]:
        """Read sound to the end of the file, or to where another one begins."""
        start = data.body + self._form.before_sound
        joined = self._find_joined(start)
        end = self._view.size if joined is None else joined
        held = (end - start) / self._rate
        declared = held if claimed is None else claimed / self._rate
        if declared > held:
            # FFmpeg ends at the end of the file by itself.
            return Section(self._pieces(end), declared, held), joined
        if self._form in CHUNKED["wav"]:
            return Section(self._pieces(end), declared, held, _TO_THE_END), joined
        return Section(self._patched(data, end), declared, held), joined

    def _patched(self, data: _Chunk, end: int) -> tuple[Piece, ...]:
        """Correct the size of the data chunk."""
        form = self._form
        size = end - data.body + (form.header if form.includes_header else 0)
        width = struct.calcsize(form.size)
        field = struct.pack(form.size, min(size, 256**width - 1))
        return *self._pieces(data.body - width), field, Span(data.body, end)

    def _pieces(self, end: int) -> tuple[Piece, ...]:
        """Return what FFmpeg gets to read, with what it does not forgive corrected."""
        pieces: list[Piece] = []
        begin = self._begin
        if self._long_size is None and self._view.peek(begin, 4) in _LONG_MAGICS:
            # The long sizes are missing, or are not used.
            pieces.append(b"RIFF" + self._view.peek(begin + 4, self._form.head - 4))
            begin += self._form.head
        for position in self._unpadded:
            pieces += Span(begin, position), b"\0"
            begin = position
        return *pieces, Span(begin, end)

    def _data(self) -> _Chunk | None:
        """Find the data chunk, and learn from the chunks before it."""
        position = self._begin + self._form.head
        for _ in range(_MOST_CHUNKS):
            chunk = self._chunk(position)
            if chunk is None:
                return None
            if chunk.name == self._form.data:
                if self._long_size not in (None, _NO_SIZE) and chunk.length == _IN_DS64:
                    return _Chunk(chunk.name, chunk.body, self._long_size or 0)
                self._long_size = None
                return chunk
            if chunk.name == self._form.format:
                body = self._view.peek(chunk.body, min(chunk.length, _FORMAT_BYTES))
                self._rate = _byte_rate(self._form, body)
            elif chunk.name == b"ds64":
                sizes = self._view.peek(chunk.body, 16)
                self._long_size = int.from_bytes(sizes[8:], "little")
            position, unpadded = chunk.next(self._form.align), chunk.next(1)
            if position > unpadded and not self._is_chunk(position) and self._is_chunk(unpadded):
                position = unpadded
                self._unpadded.append(position)
        return None

    def _is_chunk(self, position: int) -> bool:
        """Whether a chunk begins here, which the file has in full or which holds the sound."""
        chunk = self._chunk(position)
        if chunk is None or not _is_name(chunk.name, self._form):
            return False
        return chunk.name == self._form.data or chunk.next(1) <= self._view.size

    def _rest(self, data: _Chunk) -> _Rest:
        """See what follows the declared end of the sound."""
        form, size = self._form, self._view.size
        position, more = data.next(form.align), list[Span]()
        for begin in (position, data.body + data.length):
            if self._is_file(begin):
                return _Rest(joined=begin)
        for _ in range(_MOST_CHUNKS):
            if position >= size:
                return _Rest(more_sound=tuple(more))
            if self._is_file(position):
                return _Rest(joined=position, more_sound=tuple(more))
            chunk = self._chunk(position)
            if chunk is None or not _is_name(chunk.name, form) or chunk.next(1) > size:
                break
            if chunk.name == form.data:
                more.append(Span(chunk.body, chunk.next(1)))
            position = chunk.next(form.align)
        return _Rest(junk=position, more_sound=tuple(more))

    def _chunk(self, position: int) -> _Chunk | None:
        form = self._form
        header = self._view.peek(position, form.header)
        if len(header) < form.header:
            return None
        (size,) = struct.unpack(form.size, header[form.name :])
        length = max(0, size - form.header) if form.includes_header else size
        return _Chunk(header[: form.name], position + form.header, length)

    def _is_file(self, position: int) -> bool:
        return self._form.begins(self._view.peek(position, _MAGIC_BYTES))

    def _is_zero(self, start: int) -> bool:
        return not any(block.strip(b"\0") for _, block in _blocks(self._view, start, 0))

    def _find_joined(self, start: int) -> int | None:
        """Search for a WAV file within what seems to be sound."""
        if self._form not in CHUNKED["wav"]:
            return None
        mark = b"WAVE" + self._form.format
        for offset, block in _blocks(self._view, start, len(mark) + 8):
            at = block.find(mark, 8)
            while at >= 0:
                if block[at - 8 : at - 4] in self._form.magics:
                    return offset + at - 8
                at = block.find(mark, at + 1)
        return None


def _blocks(view: FileView, start: int, overlap: int) -> Iterator[tuple[int, bytes]]:
    """Yield the rest of a file in blocks that overlap, with their offsets."""
    tail, position = b"", start
    while block := view.peek(position, _BLOCK):
        yield position - len(tail), tail + block
        position += len(block)
        tail = (tail + block)[-overlap:] if overlap else b""


def _is_name(name: bytes, form: _Form) -> bool:
    """Whether it can be a chunk's name: four printable characters, in Wave64 with a suffix."""
    return len(name) == form.name and name[:4].isascii() and name[:4].decode().isprintable()


def _byte_rate(form: _Form, body: bytes) -> float:
    """Return bytes of sound per second; 0 where they cannot be told."""
    try:
        match form.format:
            case b"COMM":
                return _aiff_rate(body)
            case b"desc":
                rate, packet, frames = struct.unpack_from(">d8xII", body)
                return float(rate * packet / frames) if frames else 0.0
        order = form.size[0]
        tag, _, rate, average, align = struct.unpack_from(f"{order}HHIIH", body)
        if tag in _BLOCK_TAGS and len(body) >= _BLOCK_FORMAT_BYTES:
            (samples,) = struct.unpack_from(f"{order}H", body, _BLOCK_FORMAT_BYTES - 2)
            return float(rate * align / samples)
        return float(rate * align if tag in _PCM_TAGS else average)
    except (struct.error, OverflowError, ZeroDivisionError):
        return 0.0


def _aiff_rate(body: bytes) -> float:
    channels, _, bits, exponent, mantissa = struct.unpack_from(">HIHHQ", body)
    # An 80-bit float, as of the Motorola 68881.
    rate = float(mantissa) * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63)
    sample_bytes = _AIFC_SAMPLES.get(body[18:22] or b"NONE")
    if sample_bytes is None:
        return 0.0
    return float(channels * (sample_bytes or (bits + 7) // 8) * rate)
