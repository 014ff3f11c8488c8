"""The stage ``unpack``: takes an archive, stores an Opus object for each recording in it.

Reading, converting and storing overlap: the first Opus object appears long before the end of
the archive is read, and neither memory nor scratch space grows with the archive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, cast

from consumers.archive import (
    ArchiveLimits,
    ArchiveReader,
    Member,
    NotAnArchiveError,
    read_archive,
)
from consumers.audio.pool import TranscoderPool
from consumers.database.batches import ArchiveOverwrittenError
from consumers.database.rows import Recording, Sidecar
from consumers.documents.manifest import (
    Archive,
    ManifestEntry,
    ManifestHead,
    ManifestWriter,
    read_manifest,
)
from consumers.errors import BadArchiveError, PermanentError
from consumers.runtime.observer import step
from consumers.stages.completion import COMPLETION_TABLES
from consumers.stages.convert import Converter
from consumers.stages.created_object import archive_key
from consumers.stages.spec import StageSpec
from consumers.stages.stage_handler import Outcome, StageContext, StageHandler, outcome_of
from consumers.stages.stored_archive import ARCHIVES_GRANT, StoredArchive, describe
from consumers.store import StoredObject
from consumers.store.scratch import Scratch
from events.event import ObjectCreated
from events.keys import (
    COMPLETE,
    MANIFEST,
    OPUS,
    ArchiveKey,
    AudioId,
    BatchId,
    MalformedKeyError,
    RecordingKey,
    parse_key,
)

SPEC = StageSpec(
    writes=(OPUS, MANIFEST, COMPLETE),
    grants=(ARCHIVES_GRANT,),
    tables={
        **COMPLETION_TABLES,
        "batches": {"SELECT": (), "INSERT": (), "UPDATE": ()},
        "sidecars": {"SELECT": (), "INSERT": (), "UPDATE": ()},
    },
    states=("converted", "rejected"),
)

#: Bytes of members that scratch space may hold, besides one member of any size, and the archives
#: within the archive that it lies in.
_AHEAD = 1 << 30


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """A member that is being converted; ``size`` bytes of it are in scratch space."""

    entry: Future[ManifestEntry]
    size: int


class Unpack(StageHandler):
    """Stores an Opus object per recording of an archive, and then the manifest."""

    _name = "unpack"
    _activity = "unpacking"
    _absence = "archive is gone"

    #: One archive is enough work for a call.
    group = 1

    def __init__(
        self,
        context: StageContext,
        *,
        transcoders: TranscoderPool,
        scratch: Scratch,
        limits: ArchiveLimits,
        threads: int,
    ) -> None:
        super().__init__(context)
        self._make_converter = partial(Converter, context, transcoders, scratch)
        self._scratch = scratch
        self._limits = limits
        self._threads = threads

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Outcome]:
        """Unpack each event's archive."""
        return [outcome_of(partial(self._unpack, event)) for event in events]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Record in the batch's row why it stalls."""
        batch = self._batch_of(event)
        if batch is not None:
            self._database.stall_batch(batch, error)

    def _batch_of(self, event: ObjectCreated) -> BatchId | None:
        try:
            key = archive_key(event)
        except PermanentError:
            return None
        if key.batch is not None:
            # No request: the store may be unreachable, and that may be the error.
            return key.batch
        stored = self._store.head(key.key)
        return None if stored is None else self._described(key, stored).batch

    def _described(self, key: ArchiveKey, stored: StoredObject) -> Archive:
        """Describe the archive, as the batch that an earlier attempt began, if any.

        The answer to HEAD, from which ids are derived, changes when a client stores the same
        content again because it missed the response, and on some stores when somebody tags
        the object.
        """
        archive = describe(self._store, key, stored)
        begun = self._database.unsealed(archive) if key.batch is None else None
        return archive if begun is None else replace(archive, batch=begun)

    def _unpack(self, event: ObjectCreated) -> None:
        self._check_bucket(event)
        if event.key.endswith("/"):
            self._check_folder(event.key)
            return
        key = archive_key(event)
        stored = self._store.head(key.key)
        if stored is None:
            self._skip_deleted(event)
            return
        archive = self._described(key, stored)
        self._observer.batch_known(archive.batch)
        self._database.register(archive)
        row = self._database.batch(archive.batch)
        if row is not None and row.sealed_at is not None:
            self._completion.complete_if_done(archive.batch)
            return
        with self._database.locks() as locks:
            self._lock(locks, archive.batch)
            moderated = row is not None and row.is_moderated
            head = self._manifest(archive) or self._write_objects(
                archive, stored, moderated=moderated
            )
            self._seal(head)
        if head.failure is not None:
            raise BadArchiveError(head.failure)

    def _check_folder(self, key: str) -> None:
        """Make sure that nothing is in what S3 consoles store for "create folder".

        Raises:
            PermanentError: There is content.
        """
        stored = self._store.head(key)
        if stored is not None and stored.size:
            raise PermanentError(
                f"{key} ends in '/', like a folder, but has {stored.size} bytes: if it is an "
                "archive or a recording, copy it to a key that does not"
            )

    def _manifest(self, archive: Archive) -> ManifestHead | None:
        """Write the rows of an archive whose manifest is stored; None if there is none."""
        if self._store.head(archive.batch.manifest_key) is None:
            return None
        with self._scratch.file() as file:
            self._store.download(archive.batch.manifest_key, file)
            file.seek(0)
            head, entries = read_manifest(cast("BinaryIO", file))
            if head.archive.etag != archive.etag:
                raise ArchiveOverwrittenError(archive)
            for entry in entries:
                self._put_row(archive.batch, entry)
        return head

    def _write_objects(
        self, archive: Archive, stored: StoredObject, *, moderated: bool
    ) -> ManifestHead:
        """Read the archive, store its Opus objects and rows, and last the manifest."""
        with self._scratch.file() as lines, self._scratch.file() as whole:
            manifest = ManifestWriter(cast("BinaryIO", lines))
            failure = None
            reader = read_archive(StoredArchive(self._store, stored), self._limits)
            try:
                for entry in self._entries(archive, reader):
                    manifest.add(entry)
            except BadArchiveError as exc:
                failure = str(exc)
                self._log.warning("archive failed", batch=str(archive.batch), error=failure)
            head = manifest.finish(
                archive,
                failure,
                cast("BinaryIO", whole),
                moderated=moderated,
                notes=reader.notes,
            )
            self._store.write(
                archive.batch.manifest_key,
                cast("BinaryIO", whole),
                content_type="application/x-ndjson",
            )
        return head

    def _entries(self, archive: Archive, reader: ArchiveReader) -> Iterator[ManifestEntry]:
        """Yield each member's entry in order, once its object is stored and its row written.

        Raises:
            BadArchiveError: The archive is damaged. The entries of all readable members come
                before.
        """
        pending: deque[PendingEntry] = deque()
        with ExitStack() as stack:
            executor = stack.enter_context(ThreadPoolExecutor(self._threads, "convert"))
            stack.callback(_cancel, pending)
            failure: BadArchiveError | None = None
            entry: ManifestEntry | None = None
            try:
                for each in self._started(executor, archive, reader):
                    pending.append(each)
                    while pending and (self._is_far_ahead(pending) or pending[0].entry.done()):
                        yield (entry := pending.popleft().entry.result())
            except BadArchiveError as exc:
                failure = exc
            while pending:
                yield (entry := pending.popleft().entry.result())
        if isinstance(failure, NotAnArchiveError) and _is_accepted(entry):
            failure = None
        if failure is not None:
            raise failure

    def _members(self, reader: ArchiveReader, name: str) -> Iterator[Member]:
        """Read the archive's members, and require at least one.

        Raises:
            NotAnArchiveError: The file itself was its only member.
            BadArchiveError: The archive is empty, damaged, or holds parts that were not read.
        """
        is_empty = True
        with closing(reader):
            try:
                for member in reader:
                    is_empty = False
                    yield member
            except NotAnArchiveError:
                with closing((lone := reader.lone_member(name)).content):
                    yield lone
                # What is compressed can be an archive that was compressed once more.
                inner = next(reader, None)
                if inner is None:
                    raise
                is_empty = False
                yield inner
                yield from reader
        if unread := [note.text for note in reader.notes if note.is_loss]:
            raise BadArchiveError("; ".join(unread))
        if is_empty:
            raise BadArchiveError("the archive is empty: there is nothing in it")

    def _started(
        self, executor: Executor, archive: Archive, reader: ArchiveReader
    ) -> Iterator[PendingEntry]:
        """Copy the members' contents one after the other, and start to convert each."""
        batch = archive.batch
        converter = self._make_converter()
        done = self._stored_before(batch)
        members = self._members(reader, archive.original_name or archive.key)
        while True:
            with step(self._observer, "read"):
                member = next(members, None)
                if member is None:
                    return
                convert = converter.prepare(batch, member, done, reader)
            finish = partial(
                self._finish, converter, batch, convert, is_new=member.ordinal not in done
            )
            # The observer assigns reports to this call by a context variable.
            yield PendingEntry(executor.submit(copy_context().run, finish), member.size)

    def _is_far_ahead(self, pending: Sequence[PendingEntry]) -> bool:
        """Return whether scratch space holds enough, in members or in bytes."""
        return len(pending) > self._threads * 2 or sum(each.size for each in pending) > _AHEAD

    def _finish(
        self,
        converter: Converter,
        batch: BatchId,
        convert: Callable[[], ManifestEntry],
        *,
        is_new: bool,
    ) -> ManifestEntry:
        entry = convert()
        recording = Recording.of_entry(batch, entry)
        if is_new and recording is not None:
            self._observer.recording_ended(
                recording.audio, recording.state, recording.duration or 0.0
            )
        with step(self._observer, "record"):
            self._put_row(batch, entry)
        converter.recorded(AudioId(batch, entry.ordinal))
        return entry

    def _put_row(self, batch: BatchId, entry: ManifestEntry) -> None:
        if (recording := Recording.of_entry(batch, entry)) is not None:
            self._database.put_recording(recording)
        if (sidecar := Sidecar.of_entry(batch, entry)) is not None:
            self._database.put_sidecar(sidecar)

    def _stored_before(self, batch: BatchId) -> frozenset[int]:
        """List the members that an earlier attempt at this batch converted and recorded.

        Notes and tags that are in no row would be lost: those members are converted again.
        """
        keys = self._store.keys(f"{batch.prefix}-")
        stored = frozenset(_ordinals(key for key in keys if key.endswith(OPUS)))
        return stored & self._database.recorded_conversions(batch) if stored else stored

    def _seal(self, head: ManifestHead) -> None:
        self._database.seal(
            head.archive.batch,
            rejected=head.totals["rejected"],
            ignored=head.totals["ignored"],
            failure=head.failure,
            notes=head.notes,
        )
        self._completion.complete_if_done(head.archive.batch)


def _ordinals(keys: Iterable[str]) -> Iterator[int]:
    """Return the ordinals of the recordings that keys name; other people's keys are skipped."""
    for key in keys:
        try:
            parsed = parse_key(key)
        except MalformedKeyError:
            continue
        if isinstance(parsed, RecordingKey):
            yield parsed.audio.ordinal


def _is_accepted(entry: ManifestEntry | None) -> bool:
    return entry is not None and entry.outcome == "accepted"


def _cancel(pending: Iterable[PendingEntry]) -> None:
    for each in pending:
        each.entry.cancel()
