"""The tar that loose files are packed into, in pieces of predictable size.

The format is GNU's, which allows names of any encoding and length, and any file size. A
header is a pure function of name, size and time, so an interrupted tar can resume.
"""

from __future__ import annotations

import tarfile

#: Two blocks of zeros end an archive.
TRAILER = bytes(2 * tarfile.BLOCKSIZE)


def header(name: bytes, size: int, mtime: int) -> bytes:
    """Make the header before a member's content."""
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    info.size = size
    info.mtime = mtime
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """Make the padding after a member's content."""
    return bytes(-size % tarfile.BLOCKSIZE)


def packed_size(name: bytes, size: int) -> int:
    """Return the bytes that a member takes, with header and padding."""
    return len(header(name, size, 0)) + size + len(padding(size))
