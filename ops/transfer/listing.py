"""What a source means: the files that are there now."""

from __future__ import annotations

import fnmatch
import posixpath
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncssh

from ops.transfer.errors import FileError
from ops.transfer.remote import Session
from ops.transfer.rows import FileVersion
from ops.transfer.source import Source, fixed_part, has_wildcards, shown


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A file that a source means.

    Attributes:
        file: As it is now.
        base: The folder that the source names, or that all matches of its pattern are in.
    """

    file: FileVersion
    base: bytes

    @property
    def name(self) -> bytes:
        """Its name as a pack's member: what comes after ``base``."""
        return posixpath.relpath(self.file.path, self.base)


async def list_source(session: Session, source: Source) -> list[Found]:
    """List what a source means, in the order of the paths.

    A folder means all files in it and in its folders. Wildcards are those of a shell,
    and ``**`` is any number of folders. Symbolic links that are met on the way are not
    followed, and names that begin with a dot are left out unless the pattern does:
    copying programs call files so until they are whole.

    Raises:
        FileError: There is no such file or folder, or it may not be read. A pattern
            that matches nothing is no error.
    """
    path = source.path or b"."
    if not path.startswith(b"/"):
        path = posixpath.join(await session.home(), path)
    path = posixpath.normpath(path)
    try:
        attrs = await session.stat(path)
    except FileError:
        if not source.is_pattern:
            raise
        base = fixed_part(path)
        parts = path[len(base) :].strip(b"/").split(b"/")
        matches = [each async for each in _matches(session, base or b"/", parts)]
    else:
        if not _is(attrs, stat.S_IFDIR):
            if not _is(attrs, stat.S_IFREG):
                raise FileError(f"{source.host}:{shown(path)} is neither a file nor a folder")
            return [Found(_version(path, attrs), posixpath.dirname(path))]
        base = path
        matches = [each async for each in _walk(session, path)]
    return sorted({Found(each, base) for each in matches})


async def _walk(session: Session, folder: bytes) -> AsyncIterator[FileVersion]:
    async for name, attrs in session.scan(folder):
        if name.startswith(b"."):
            continue
        path = posixpath.join(folder, name)
        if _is(attrs, stat.S_IFDIR):
            async for each in _walk(session, path):
                yield each
        elif _is(attrs, stat.S_IFREG):
            yield _version(path, attrs)


async def _matches(
    session: Session, folder: bytes, parts: list[bytes]
) -> AsyncIterator[FileVersion]:
    part, *rest = parts
    if part == b"**" and rest:
        # No folder at all, and below, any.
        async for each in _matches(session, folder, rest):
            yield each
    async for path, attrs in _entries(session, folder, part):
        if _is(attrs, stat.S_IFDIR):
            below = parts if part == b"**" else rest
            if below:
                async for each in _matches(session, path, below):
                    yield each
        elif not rest and _is(attrs, stat.S_IFREG):
            yield _version(path, attrs)


async def _entries(
    session: Session, folder: bytes, part: bytes
) -> AsyncIterator[tuple[bytes, asyncssh.SFTPAttrs]]:
    """Give what fits one part of a pattern; what is not there, or is closed to us, does not."""
    try:
        if not has_wildcards(part):
            path = posixpath.join(folder, part)
            yield path, await session.stat(path)
            return
        async for name, attrs in session.scan(folder):
            is_hidden = name.startswith(b".") and not part.startswith(b".")
            if not is_hidden and fnmatch.fnmatchcase(name, b"*" if part == b"**" else part):
                yield posixpath.join(folder, name), attrs
    except FileError:
        return


def _is(attrs: asyncssh.SFTPAttrs, kind: int) -> bool:
    return stat.S_IFMT(attrs.permissions or 0) == kind


def _version(path: bytes, attrs: asyncssh.SFTPAttrs) -> FileVersion:
    return FileVersion(path, attrs.size or 0, int(attrs.mtime or 0))
