"""The files of a source, as they are now."""

from __future__ import annotations

import fnmatch
import posixpath
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import asyncssh

from ops.ingest.transfer.errors import FileError, GoneError
from ops.ingest.transfer.remote import RemoteSession
from ops.ingest.transfer.source import (
    FileVersion,
    TransferSource,
    fixed_part,
    has_wildcards,
    shown,
)

#: The largest file size of POSIX (``off_t``); SFTP can express larger numbers.
_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class FoundFile:
    """A file of a source.

    Attributes:
        file: Its present version.
        base: The folder that the source names, or that holds all matches of its pattern.
    """

    file: FileVersion
    base: bytes

    @property
    def name(self) -> bytes:
        """Its name in a pack: the path relative to ``base``."""
        return posixpath.relpath(self.file.path, self.base)


async def list_source(
    session: RemoteSession, source: TransferSource
) -> tuple[list[FoundFile], list[str]]:
    """List the files of a source.

    A folder stands for all files below it. Wildcards are those of a shell, and ``**``
    matches any number of folders. Symbolic links below the source are not followed.
    Names that begin with a dot are skipped unless the pattern begins with one, as copying
    programs hide files until they are complete. A file that vanishes is skipped.

    Returns:
        The files, in the order of their paths; and why others were skipped, for people: they
        are unreadable, or have an impossible size.

    Raises:
        FileError: The file or folder is missing or unreadable. A pattern without matches
            is no error.
    """
    path = source.path or b"."
    if not path.startswith(b"/"):
        path = posixpath.join(await session.home(), path)
    path = posixpath.normpath(path)
    walk = _Walk(session)
    files: list[FileVersion] = []
    try:
        attrs = await session.stat(path)
    except FileError:
        if not has_wildcards(source.path):
            raise
        base = fixed_part(path)
        with walk.skipping():
            async for each in walk.files(base or b"/", path[len(base) :].strip(b"/").split(b"/")):
                files.append(each)  # noqa: PERF401 - those before an error count
    else:
        base = path
        if _is(attrs, stat.S_IFREG):
            base = posixpath.dirname(path)
            files = [_version(path, attrs)]
        elif _is(attrs, stat.S_IFDIR):
            files = [each async for each in walk.files(path, [b"**"])]
        else:
            raise FileError(f"{source.host}:{shown(path)} is neither a file nor a folder")
    return sorted({FoundFile(each, base) for each in files}), list(dict.fromkeys(walk.closed))


class _Walk:
    """One walk through folders.

    Attributes:
        closed: Why files and folders were skipped.
    """

    def __init__(self, session: RemoteSession) -> None:
        self._session = session
        self.closed: list[str] = []

    async def files(self, folder: bytes, parts: list[bytes]) -> AsyncIterator[FileVersion]:
        """Return all files that match a pattern's parts below a folder, which must be readable."""
        part, *rest = parts
        if part == b"**" and rest:
            # ``**`` matches no folder here, and any number of folders below.
            with self.skipping():
                async for each in self.files(folder, rest):
                    yield each
        async for path, attrs in self._entries(folder, part):
            with self.skipping():
                if _is(attrs, stat.S_IFDIR):
                    if below := parts if part == b"**" else rest:
                        async for each in self.files(path, below):
                            yield each
                elif not rest and _is(attrs, stat.S_IFREG):
                    yield _version(path, attrs)

    async def _entries(
        self, folder: bytes, part: bytes
    ) -> AsyncIterator[tuple[bytes, asyncssh.SFTPAttrs]]:
        """Return the entries that match one part of a pattern."""
        if not has_wildcards(part):
            path = posixpath.join(folder, part)
            yield path, await self._session.stat(path)
            return
        async for name, attrs in self._session.scan(folder):
            is_hidden = name.startswith(b".") and not part.startswith(b".")
            if not is_hidden and fnmatch.fnmatchcase(name, b"*" if part == b"**" else part):
                yield posixpath.join(folder, name), attrs

    @contextmanager
    def skipping(self) -> Iterator[None]:
        """Go on after a file or folder that is unreadable or gone."""
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
        raise FileError(f"{shown(path)}: the server reports an impossible size, {size} bytes")
    return FileVersion(path, size, int(attrs.mtime or 0))
