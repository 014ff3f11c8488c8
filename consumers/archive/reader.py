"""The entry point: recognises the format and chooses its reader."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import BinaryIO, Self

from consumers.archive.formats import (
    HEAD_BYTES,
    ArchiveFormat,
    begins_document,
    recognise_source,
)
from consumers.archive.lone import lone_member
from consumers.archive.members import (
    Allowance,
    ArchiveLimitError,
    ArchiveLimits,
    ArchiveSource,
    Member,
    NotAnArchiveError,
)
from consumers.archive.ranged_file import RangedFile, read_range
from consumers.archive.spooled import SpooledArchive
from consumers.archive.tar import read_tar
from consumers.archive.zip import read_zip
from consumers.archive.zip_directory import find_end
from consumers.documents.note import Note, NoteCode
from consumers.errors import BadArchiveError

_DEEPEST = 1
_DEEPEST_DOCUMENT = 2


@dataclass(slots=True)
class _InnerArchive:
    """An archive within an archive, while it is read.

    Attributes:
        outer: The member that it is.
        members: Its own members.
        notes: On it as a whole.
        is_document: Whether its members are parts of a document.
        owned: Closed behind its last member.
    """

    outer: Member
    members: Iterator[Member]
    notes: list[Note]
    is_document: bool
    owned: ExitStack = field(default_factory=ExitStack)


class ArchiveReader:
    """Reads the members of an untrusted archive, in order, with flat memory.

    The formats are zip and tar, plain or compressed with gzip, bzip2, xz or zstd. Nothing is
    read before the first member is requested. Close the reader if you leave it before its end.

    A member that is an archive is a member like others, until it is entered: then its members
    come next, and count against the same limits. They are numbered in the order in which they
    are read, so the same archives, entered at each reading, give the same ordinals.

    Attributes:
        notes: Remarks for people on the archive as a whole, complete at its end: parts that were
            not read, and how it was repaired.

    Raises:
        BadArchiveError: the archive cannot be read, or not further; all members before that
            point have been yielded.
    """

    def __init__(self, source: ArchiveSource, limits: ArchiveLimits) -> None:
        self.notes: list[Note] = []
        self._source = source
        self._allowance = Allowance(limits)
        self._members = self._read(source)
        self._inner: list[_InnerArchive] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Member:
        while self._inner:
            member = self._next_inner(self._inner[-1])
            if member is not None:
                return member
            self._leave()
        return next(self._members)

    def lone_member(self, name: str) -> Member:
        """Return the whole as its only member, if it is no archive, or a compressed file.

        Args:
            name: The file's, which becomes the member's path.

        Raises:
            BadArchiveError: It is empty, damaged, or an archive of another kind.
        """
        return lone_member(self._source, name, self._allowance, self.notes, is_outermost=True)

    def enter(self, member: Member, file: BinaryIO) -> ExitStack:
        """Read the members of an archive within the archive next.

        Args:
            member: The member that it is.
            file: Its content, as far as it could be read; a real file, which stays open.

        Returns:
            What is closed behind its last member; the file's closing can be added.

        Raises:
            NotAnArchiveError: It is none.
            BadArchiveError: It cannot be read, or is too deep within others.
        """
        source = SpooledArchive(file)
        found = recognise_source(source)
        is_document = begins_document(read_range(source, 0, min(source.size, HEAD_BYTES)))
        if member.depth >= (_DEEPEST_DOCUMENT if is_document else _DEEPEST):
            raise BadArchiveError(
                "is an archive within an archive within this one: "
                "unpack the inner ones before you pack them"
            )
        notes: list[Note] = []
        with ExitStack() as stack:
            members = stack.enter_context(closing(self._primed(source, found, member, notes)))
            inner = _InnerArchive(member, members, notes, is_document)
            inner.owned.push(stack.pop_all())
        self._inner.append(inner)
        return inner.owned

    def close(self) -> None:
        """Leave the archive."""
        while self._inner:
            self._inner.pop().owned.close()
        self._members.close()

    def _read(self, source: ArchiveSource) -> Generator[Member, None, None]:
        found = recognise_source(source)
        yield from self._read_as(found, source, self.notes, is_outermost=True)

    def _read_as(
        self, found: ArchiveFormat, source: ArchiveSource, notes: list[Note], *, is_outermost: bool
    ) -> Iterator[Member]:
        if found is ArchiveFormat.ZIP:
            return read_zip(source, self._allowance, notes, is_outermost=is_outermost)
        members = read_tar(source, found, self._allowance, notes, is_outermost=is_outermost)
        if found is ArchiveFormat.TAR:
            return self._or_zip(members, source, notes, is_outermost=is_outermost)
        return members

    def _or_zip(
        self,
        members: Iterator[Member],
        source: ArchiveSource,
        notes: list[Note],
        *,
        is_outermost: bool,
    ) -> Iterator[Member]:
        """Read a zip if what begins with zeros, like an empty tar, is none."""
        try:
            yield from members
        except NotAnArchiveError:
            if find_end(RangedFile(source), source.size) is None:
                raise
            yield from read_zip(source, self._allowance, notes, is_outermost=is_outermost)

    def _primed(
        self, source: ArchiveSource, found: ArchiveFormat, outer: Member, notes: list[Note]
    ) -> Generator[Member, None, None]:
        """Read up to the first member, so that what is wrong before it is the archive's fault."""
        members = self._read_as(found, source, notes, is_outermost=False)
        try:
            first = next(members, None)
        except NotAnArchiveError:
            if found is ArchiveFormat.TAR:
                raise
            name = PurePosixPath(outer.path).name
            first = lone_member(source, name, self._allowance, notes, is_outermost=False)
        if first is None and found is ArchiveFormat.TAR:
            raise NotAnArchiveError("there are only zeros in it")
        return _chained(first, members)

    def _next_inner(self, inner: _InnerArchive) -> Member | None:
        outer = inner.outer
        try:
            member = next(inner.members, None)
        except ArchiveLimitError:
            self.close()
            raise
        except BadArchiveError as exc:
            inner.notes.append(Note(NoteCode.UNREAD, str(exc)))
            member = None
        if member is None:
            return None
        return replace(
            member,
            path=f"{outer.path}/{member.path}",
            depth=outer.depth + 1,
            is_part=inner.is_document,
        )

    def _leave(self) -> None:
        inner = self._inner.pop()
        inner.owned.close()
        self.notes += (Note(note.code, f"{inner.outer.path}: {note.text}") for note in inner.notes)


def read_archive(source: ArchiveSource, limits: ArchiveLimits) -> ArchiveReader:
    """Read an archive. See `ArchiveReader`."""
    return ArchiveReader(source, limits)


def _chained(first: Member | None, others: Iterator[Member]) -> Generator[Member, None, None]:
    if first is not None:
        with closing(first.content):
            yield first
        yield from others
