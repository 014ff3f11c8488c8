"""The tar that loose files are packed into, in pieces whose places are known beforehand.

GNU's format, as it holds names in any encoding and of any length, and any size. A
header is a pure function of name, size and time, so that a tar that broke off can be
gone on with where it stopped.
"""

from __future__ import annotations

import tarfile

#: Two blocks of zeros end an archive.
TRAILER = bytes(2 * tarfile.BLOCKSIZE)


def header(name: bytes, size: int, mtime: int) -> bytes:
    """Make what stands before a member's content."""
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    info.size = size
    info.mtime = mtime
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """Make what stands after a member's content."""
    return bytes(-size % tarfile.BLOCKSIZE)


def packed_size(name: bytes, size: int) -> int:
    """Say how many bytes a member takes."""
    return len(header(name, size, 0)) + size + len(padding(size))
