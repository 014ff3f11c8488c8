"""The headers of one tar member: a block, and the extended headers before it.

``tarfile`` decodes the single 512-byte block (``TarInfo.frombuf``). Its reader of whole archives
is unsafe with hostile ones: before Python 3.11.10 and 3.12.6 a pax header of 64 KiB costs it 1 GiB
of memory, growing quadratically; a damaged header ends the archive as if it were complete; global
pax headers pile up. Here every length is checked before use.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from consumers.archive.members import in_units
from consumers.archive.streams import PADDING, PieceReader
from consumers.errors import BadArchiveError

BLOCK_BYTES = tarfile.BLOCKSIZE

_GNU_MAGIC = b"ustar  \x00"
_POSIX_MAGIC = b"ustar"
_SPARSE_KEYS = (b"GNU.sparse.", b"SCHILY.realsize")
_LONGEST_NUMBER = 20
_SKIPPED_BUDGETS = 64
"""A header larger than so many times what is allowed is taken for damage."""
_PAX_TYPES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENDED_TYPES = (
    *_PAX_TYPES,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_TYPES_WITHOUT_DATA = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)


@dataclass(frozen=True, slots=True)
class TarHeader:
    """The headers of one member, combined.

    Attributes:
        name: as recorded, in an unknown encoding.
        kind: the type flag, one byte.
        size: bytes of the data that follows, without padding.
        sparse: the data is a map of holes and the parts between them.
        complete: False if a header was too large to read, so that name and size may be others.
    """

    name: bytes
    kind: bytes
    size: int
    sparse: bool
    complete: bool

    @property
    def stored(self) -> int:
        """Bytes up to the next header."""
        if self.kind in _TYPES_WITHOUT_DATA:
            return 0
        return _in_blocks(self.size)


class TarHeaderError(BadArchiveError):
    """A header is damaged, cut off or too large. The bytes behind it may be members.

    Attributes:
        boundary: Bytes from here to the end of the header's block.
    """

    boundary = 0


def read_header(archive: PieceReader, header_bytes: int) -> TarHeader | None:
    """Read all headers of the next member, up to ``header_bytes`` together.

    A larger one is skipped.

    Returns:
        ``None`` at an end of the archive: a block of zeros, or no more bytes.

    Raises:
        TarHeaderError: there is no header here that can be read. A block that is no header is
            not consumed, except for its first byte.
    """
    blocks = _Blocks(archive, header_bytes)
    extended = _Extended()
    while True:
        block = blocks.header()
        if block is None:
            if extended.found:
                raise TarHeaderError("the archive is cut off: no member follows a long header")
            return None
        try:
            info = _decoded(block)
        except TarHeaderError as exc:
            # A header may begin within it.
            archive.push_back(block[1:])
            exc.boundary = BLOCK_BYTES - 1
            raise
        if info.type not in _EXTENDED_TYPES:
            return _member(block, info, extended, blocks)
        payload, is_whole = blocks.payload(info.size)
        extended.add(info.type, payload, is_whole=is_whole)


class _Blocks:
    """Reads the blocks of one member's headers within a budget of bytes."""

    def __init__(self, archive: PieceReader, budget: int) -> None:
        self._archive = archive
        self._budget = budget
        self._left = budget

    def header(self) -> bytes | None:
        block = self._read(BLOCK_BYTES)
        is_padding = not any(block) or (len(block) < BLOCK_BYTES and not block.strip(PADDING))
        if is_padding:
            return None
        if len(block) < BLOCK_BYTES:
            raise TarHeaderError("the archive is cut off in the middle of a header")
        return block

    def payload(self, size: int) -> tuple[bytes, bool]:
        """Return as much of a long header as the budget allows, and whether that is all."""
        length = _in_blocks(size)
        if length > self._budget * _SKIPPED_BUDGETS:
            raise self.too_large()
        taken = min(length, max(0, self._left))
        data = self._read(taken)
        if len(data) < taken or self._archive.skip(length - taken) < length - taken:
            raise TarHeaderError("the archive is cut off in the middle of a long header")
        return data[:size], taken == length

    def _read(self, length: int) -> bytes:
        self._left -= length
        # Headers that are too large together are no chain of headers.
        if self._left < -self._budget:
            raise self.too_large()
        return self._archive.read(length)

    def too_large(self) -> TarHeaderError:
        """Make the error of headers that are too large together."""
        return TarHeaderError(
            f"the headers of one member take more than the {in_units(self._budget)} allowed"
        )


@dataclass(slots=True)
class _Extended:
    """The extended headers before a member, combined."""

    found: bool = False
    complete: bool = True
    sparse: bool = False
    size: int | None = None
    long_name: bytes | None = None
    pax_name: bytes | None = None
    sparse_name: bytes | None = None

    def add(self, kind: bytes, payload: bytes, *, is_whole: bool) -> None:
        # Global headers hold comments or default owners; a name or size for all members would
        # make no sense.
        if kind == tarfile.XGLTYPE:
            return
        self.found = True
        if kind == tarfile.GNUTYPE_LONGNAME:
            self.long_name = payload.partition(b"\x00")[0]
        elif kind in _PAX_TYPES:
            for keyword, value in _pax_records(payload, is_whole=is_whole):
                self._add_record(keyword, value)
        # The target of a link is not needed.
        self.complete &= is_whole or kind == tarfile.GNUTYPE_LONGLINK

    def name_over(self, block_name: bytes) -> bytes:
        """Return the effective name, given the one in the member's own block."""
        return self.sparse_name or self.pax_name or self.long_name or block_name

    def _add_record(self, keyword: bytes, value: bytes) -> None:
        # Many small records would take far more memory than their bytes, so only these are kept.
        if keyword.startswith(_SPARSE_KEYS):
            self.sparse = True
        # An empty value revokes a record (POSIX pax).
        if keyword == b"GNU.sparse.name":
            self.sparse_name = value
        elif keyword == b"path":
            self.pax_name = value
        elif keyword == b"size":
            self.size = _number(value) if value else None


def _member(block: bytes, info: tarfile.TarInfo, extended: _Extended, blocks: _Blocks) -> TarHeader:
    sparse = info.type == tarfile.GNUTYPE_SPARSE
    if sparse:
        _skip_sparse_map(block, blocks)
    return TarHeader(
        name=extended.name_over(_block_name(block)),
        kind=info.type if info.type != tarfile.AREGTYPE else tarfile.REGTYPE,
        size=info.size if extended.size is None else extended.size,
        sparse=sparse or extended.sparse,
        complete=extended.complete,
    )


def _decoded(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as exc:
        raise TarHeaderError(f"a header is damaged ({exc})") from exc
    if info.size < 0:
        raise TarHeaderError("a header is damaged (negative size)")
    # frombuf takes an old-style file with a trailing slash for a directory, but its data follows.
    info.type = block[156:157]
    return info


def _block_name(block: bytes) -> bytes:
    name = _until_nul(block[0:100])
    # GNU stores times where POSIX stores the beginning of a long name.
    is_posix = block[257:262] == _POSIX_MAGIC and block[257:265] != _GNU_MAGIC
    prefix = _until_nul(block[345:500]) if is_posix else b""
    return prefix + b"/" + name if prefix else name


def _skip_sparse_map(block: bytes, blocks: _Blocks) -> None:
    """Skip the blocks that continue an old GNU sparse map."""
    more = block[482]
    while more:
        block = blocks.payload(BLOCK_BYTES)[0]
        if len(block) < BLOCK_BYTES:
            raise blocks.too_large()
        more = block[504]


def _pax_records(payload: bytes, *, is_whole: bool) -> Iterator[tuple[bytes, bytes]]:
    r"""Yield keyword and value of each record ``LENGTH KEYWORD=VALUE\n`` (POSIX pax)."""
    position = 0
    while position < len(payload) and payload[position]:
        space = payload.find(b" ", position, position + _LONGEST_NUMBER + 1)
        if space < 0 and not is_whole:
            return
        end = position + _number(payload[position:space]) if space > position else 0
        if end > len(payload) and not is_whole:
            return
        record = payload[space + 1 : end]
        keyword, equals, value = record.partition(b"=")
        if end > len(payload) or not (keyword and equals and value.endswith(b"\n")):
            raise TarHeaderError("a header is damaged (pax record)")
        yield keyword, value[:-1]
        position = end


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _LONGEST_NUMBER:
        raise TarHeaderError("a header is damaged (pax number)")
    return int(digits)


def _until_nul(field_bytes: bytes) -> bytes:
    return field_bytes.partition(b"\x00")[0]


def _in_blocks(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES
