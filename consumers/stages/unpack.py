"""The route ``unpack``: an archive in, a recording's Opus object for each member out.

All at once: the archive is read from the store while earlier members are
converted and stored, so the first Opus object appears long before the archive
is read, and neither memory nor scratch grows with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

from consumers.archive import ArchiveLimits, Member, read_archive
from consumers.database.batches import BatchRepository
from consumers.database.errors import ArchiveOverwrittenError
from consumers.database.rows import Recording
from consumers.documents.manifest import (
    Archive,
    ManifestEntry,
    ManifestHead,
    ManifestWriter,
    read_manifest,
)
from consumers.errors import BadArchiveError, BusyError, PermanentError, TransientError
from consumers.runtime.observer import SILENT, Observer, stage
from consumers.stages.completion import COMPLETION_TABLES, Completion
from consumers.stages.convert import Converter
from consumers.stages.created_object import check_bucket, check_deleted
from consumers.stages.spec import StageSpec
from consumers.stages.stored_archive import (
    ARCHIVES_GRANT,
    StoredArchive,
    archive_key,
    describe,
)
from consumers.store import Store, StoredObject
from consumers.store.scratch import Scratch
from events.event import ObjectCreated
from events.keys import (
    COMPLETE,
    MANIFEST,
    OPUS,
    ArchiveKey,
    BatchId,
    MalformedKeyError,
    RecordingKey,
    batch_of,
    parse_key,
)

SPEC = StageSpec(
    writes=(OPUS, MANIFEST, COMPLETE),
    grants=(ARCHIVES_GRANT,),
    tables={**COMPLETION_TABLES, "batches": {"SELECT": (), "INSERT": (), "UPDATE": ()}},
    states=("converted", "rejected"),
)

#: Bytes of members that may lie in scratch, besides one of any size.
_AHEAD = 1 << 30


@dataclass(frozen=True, slots=True)
class Pending:
    """A member whose entry is being made; ``size`` bytes of it lie in scratch."""

    entry: Future[ManifestEntry]
    size: int


@dataclass(frozen=True, slots=True)
class Job:
    """A member whose content was taken over.

    Attributes:
        convert: What is left to do.
        size: Bytes of it that lie in scratch.
        is_new: Whether no earlier attempt has done it.
    """

    convert: Callable[[], ManifestEntry]
    size: int
    is_new: bool


class Unpack:
    """Does the route's work."""

    #: An archive is work enough for one call.
    group = 1

    def __init__(
        self,
        *,
        store: Store,
        database: BatchRepository,
        completion: Completion,
        converter: Converter,
        scratch: Scratch,
        limits: ArchiveLimits,
        threads: int,
        log: Any,
        observer: Observer = SILENT,
    ) -> None:
        self._store = store
        self._database = database
        self._completion = completion
        self._converter = converter
        self._scratch = scratch
        self._limits = limits
        self._threads = threads
        self._log = log.bind(route="unpack")
        self._observer = observer

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        """Unpack each event's archive. See `consumers.runtime.handler.Handler`."""
        return [self._outcome(event) for event in events]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Put on the batch's row why it does not go on."""
        batch = self._batch_of(event)
        if batch is not None:
            self._database.stall_batch(batch, error)

    def _batch_of(self, event: ObjectCreated) -> BatchId | None:
        try:
            key = archive_key(event)
        except PermanentError:
            return None
        if key.batch is not None:
            # The store may be away, which is why it is given up.
            return key.batch
        stored = self._store.head(key.key)
        return None if stored is None else self._described(key, stored).batch

    def _described(self, key: ArchiveKey, stored: StoredObject) -> Archive:
        """Give the batch's row; one that was begun is gone on with.

        What HEAD says, of which an id is derived, changes when the same content
        is stored once more (a client that did not hear the answer), and on some
        stores when somebody tags it.
        """
        archive = describe(self._store, key, stored)
        begun = self._database.unsealed(archive) if key.batch is None else None
        return archive if begun is None else replace(archive, batch=begun)

    def _outcome(self, event: ObjectCreated) -> Exception | None:
        try:
            self._unpack(event)
        except (PermanentError, TransientError) as exc:
            return exc
        return None

    def _unpack(self, event: ObjectCreated) -> None:
        check_bucket(event, self._store.bucket)
        if event.key.endswith("/"):
            # What S3 consoles make of "create folder".
            return
        key = archive_key(event)
        stored = self._store.head(key.key)
        if stored is None:
            self._gone(event)
            return
        archive = self._described(key, stored)
        self._observer.batch_known(archive.batch)
        self._database.register(archive)
        row = self._database.batch(archive.batch)
        if row is not None and row.sealed_at is not None:
            self._completion.look(archive.batch)
            return
        with self._database.locks() as locks:
            if not locks.acquire(f"unpack {archive.batch}"):
                raise BusyError(f"another worker is unpacking {archive.batch}")
            moderated = row is not None and row.is_moderated
            head = self._manifest(archive) or self._write_objects(
                archive, stored, moderated=moderated
            )
            self._seal(head)
        if head.failure is not None:
            raise BadArchiveError(head.failure)

    def _gone(self, event: ObjectCreated) -> None:
        check_deleted(event, self._store.now())
        batch = batch_of(event.key)
        self._log.info(
            "archive is gone, nothing to do",
            key=event.key,
            batch=None if batch is None else str(batch),
        )

    def _manifest(self, archive: Archive) -> ManifestHead | None:
        """Write the rows of an archive that was read before; None where it was not."""
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
        """Read the archive, write its Opus objects and rows, and the manifest last."""
        with self._scratch.file() as lines, self._scratch.file() as whole:
            manifest = ManifestWriter(cast("BinaryIO", lines))
            failure = None
            try:
                for entry in self._entries(archive.batch, stored):
                    manifest.add(entry)
            except BadArchiveError as exc:
                failure = str(exc)
                self._log.warning("archive failed", batch=str(archive.batch), error=failure)
            head = manifest.finish(archive, failure, cast("BinaryIO", whole), moderated=moderated)
            self._store.write(
                archive.batch.manifest_key,
                cast("BinaryIO", whole),
                content_type="application/x-ndjson",
            )
        return head

    def _entries(self, batch: BatchId, stored: StoredObject) -> Iterator[ManifestEntry]:
        """Give each member's entry, in order, with its object stored and its row written.

        Raises:
            BadArchiveError: After the entries of all members that could be read.
        """
        done = self._stored_before(batch)
        pending: deque[Pending] = deque()
        with ExitStack() as stack:
            executor = stack.enter_context(ThreadPoolExecutor(self._threads, "convert"))
            stack.callback(_cancel, pending)
            failure: BadArchiveError | None = None
            try:
                for job in self._jobs(batch, stored, done):
                    pending.append(self._submit(executor, batch, job))
                    while pending and (self._is_far_ahead(pending) or pending[0].entry.done()):
                        yield pending.popleft().entry.result()
            except BadArchiveError as exc:
                failure = exc
            while pending:
                yield pending.popleft().entry.result()
        if failure is not None:
            raise failure

    def _members(self, stored: StoredObject) -> Iterator[Member]:
        """Read the archive's members, of which there has to be one."""
        is_empty = True
        for member in read_archive(StoredArchive(self._store, stored), self._limits):
            is_empty = False
            yield member
        if is_empty:
            raise BadArchiveError("the archive is empty: there is nothing in it")

    def _jobs(self, batch: BatchId, stored: StoredObject, done: Set[int]) -> Iterator[Job]:
        """Take over one member's content after the other."""
        members = self._members(stored)
        while True:
            with stage(self._observer, "read"):
                member = next(members, None)
                if member is None:
                    return
                convert = self._converter.prepare(batch, member, done)
            yield Job(convert, member.size, is_new=member.ordinal not in done)

    def _submit(self, executor: ThreadPoolExecutor, batch: BatchId, job: Job) -> Pending:
        # What is told of the work there is told of this call.
        run = copy_context().run
        return Pending(executor.submit(run, self._finish, batch, job), job.size)

    def _is_far_ahead(self, pending: Sequence[Pending]) -> bool:
        """Tell whether enough lies in scratch, in members or in bytes."""
        return len(pending) > self._threads * 2 or sum(each.size for each in pending) > _AHEAD

    def _finish(self, batch: BatchId, job: Job) -> ManifestEntry:
        entry = job.convert()
        if job.is_new:
            self._tell(batch, entry)
        with stage(self._observer, "record"):
            self._put_row(batch, entry)
        return entry

    def _tell(self, batch: BatchId, entry: ManifestEntry) -> None:
        recording = Recording.of_entry(batch, entry)
        if recording is not None:
            self._observer.recording_ended(
                recording.audio, recording.state, recording.duration or 0.0
            )

    def _put_row(self, batch: BatchId, entry: ManifestEntry) -> None:
        recording = Recording.of_entry(batch, entry)
        if recording is not None:
            self._database.put_recording(recording)

    def _stored_before(self, batch: BatchId) -> frozenset[int]:
        """List what an earlier attempt at this batch stored, so it is not done again."""
        keys = self._store.keys(f"{batch.prefix}-")
        return frozenset(_ordinals(key for key in keys if key.endswith(OPUS)))

    def _seal(self, head: ManifestHead) -> None:
        self._database.seal(
            head.archive.batch,
            rejected=head.totals["rejected"],
            ignored=head.totals["ignored"],
            failure=head.failure,
        )
        self._completion.look(head.archive.batch)


def _ordinals(keys: Iterable[str]) -> Iterator[int]:
    """Give the recordings that keys name, passing over what others stored beside them."""
    for key in keys:
        try:
            parsed = parse_key(key)
        except MalformedKeyError:
            continue
        if isinstance(parsed, RecordingKey):
            yield parsed.audio.ordinal


def _cancel(pending: Iterable[Pending]) -> None:
    for each in pending:
        each.entry.cancel()
