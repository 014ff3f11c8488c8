"""What a source means: the files that are there now."""

from __future__ import annotations

import fnmatch
import posixpath
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import asyncssh

from ops.ingest.transfer.errors import FileError, GoneError
from ops.ingest.transfer.remote import RemoteSession
from ops.ingest.transfer.shipment import FileVersion
from ops.ingest.transfer.source import TransferSource, fixed_part, has_wildcards, shown

#: Bytes of the largest file that POSIX has (``off_t``); SFTP has numbers for more.
_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class FoundFile:
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


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source means.

    Attributes:
        files: The files, in the order of their paths.
        closed: Why some folders and files were left out, for people: they are closed to
            this user, or can't be.
    """

    files: Sequence[FoundFile]
    closed: Sequence[str] = ()


async def list_source(session: RemoteSession, source: TransferSource) -> Listing:
    """List what a source means.

    A folder means all files in it and in its folders. Wildcards are those of a shell,
    and ``**`` is any number of folders. Symbolic links that are met on the way are not
    followed, and names that begin with a dot are left out unless the pattern does:
    copying programs call files so until they are whole. What is gone before it was
    looked at was not there.

    Raises:
        FileError: There is no such file or folder, or it may not be read. A pattern
            that matches nothing is no error.
    """
    path = source.path or b"."
    if not path.startswith(b"/"):
        path = posixpath.join(await session.home(), path)
    path = posixpath.normpath(path)
    look = _Look(session)
    try:
        attrs = await session.stat(path)
    except FileError:
        if not source.is_pattern:
            raise
        base = fixed_part(path)
        parts = path[len(base) :].strip(b"/").split(b"/")
        matches = [each async for each in look.matches(base or b"/", parts)]
    else:
        if not _is(attrs, stat.S_IFDIR):
            if not _is(attrs, stat.S_IFREG):
                raise FileError(f"{source.host}:{shown(path)} is neither a file nor a folder")
            return Listing([FoundFile(_version(path, attrs), posixpath.dirname(path))])
        base = path
        matches = [each async for each in look.walk(path)]
    files = sorted({FoundFile(each, base) for each in matches})
    return Listing(files, list(dict.fromkeys(look.closed)))


class _Look:
    """One look through folders.

    Attributes:
        closed: Why some of what was met is left out.
    """

    def __init__(self, session: RemoteSession) -> None:
        self._session = session
        self.closed: list[str] = []

    async def walk(self, folder: bytes) -> AsyncIterator[FileVersion]:
        """Give all files below a folder, which itself may not be closed."""
        async for name, attrs in self._session.scan(folder):
            if name.startswith(b"."):
                continue
            path = posixpath.join(folder, name)
            with self._leaving_out():
                if _is(attrs, stat.S_IFDIR):
                    async for each in self.walk(path):
                        yield each
                elif _is(attrs, stat.S_IFREG):
                    yield _version(path, attrs)

    async def matches(self, folder: bytes, parts: list[bytes]) -> AsyncIterator[FileVersion]:
        """Give all files that fit a pattern's parts."""
        part, *rest = parts
        if part == b"**" and rest:
            # No folder at all, and below, any.
            async for each in self.matches(folder, rest):
                yield each
        async for path, attrs in self._entries(folder, part):
            if _is(attrs, stat.S_IFDIR):
                below = parts if part == b"**" else rest
                if below:
                    async for each in self.matches(path, below):
                        yield each
            elif not rest and _is(attrs, stat.S_IFREG):
                with self._leaving_out():
                    yield _version(path, attrs)

    async def _entries(
        self, folder: bytes, part: bytes
    ) -> AsyncIterator[tuple[bytes, asyncssh.SFTPAttrs]]:
        """Give what fits one part of a pattern."""
        with self._leaving_out():
            if not has_wildcards(part):
                path = posixpath.join(folder, part)
                yield path, await self._session.stat(path)
                return
            async for name, attrs in self._session.scan(folder):
                is_hidden = name.startswith(b".") and not part.startswith(b".")
                if not is_hidden and fnmatch.fnmatchcase(name, b"*" if part == b"**" else part):
                    yield posixpath.join(folder, name), attrs

    @contextmanager
    def _leaving_out(self) -> Iterator[None]:
        try:
            yield
        except GoneError:
            return
        except FileError as exc:
            self.closed.append(str(exc))


def _is(attrs: asyncssh.SFTPAttrs, kind: int) -> bool:
    return stat.S_IFMT(attrs.permissions or 0) == kind


def _version(path: bytes, attrs: asyncssh.SFTPAttrs) -> FileVersion:
    size = attrs.size or 0
    if size > _MOST:
        raise FileError(f"{shown(path)} can't have {size} bytes")
    return FileVersion(path, size, int(attrs.mtime or 0))
