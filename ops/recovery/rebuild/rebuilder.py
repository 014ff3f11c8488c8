"""Replacing a batch's rows from the bucket, while consumers work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, BinaryIO, TypeVar, cast

from consumers.database.batches import BatchRepository
from consumers.database.rebuild import RebuildRepository, StoredBatch
from consumers.database.rows import BatchState, Recording
from consumers.documents.manifest import Archive, ManifestEntry, ManifestHead, read_manifest
from consumers.errors import BusyError, PermanentError
from consumers.portions import portions
from consumers.stages.completion import Completion
from consumers.stages.stored_archive import retire
from consumers.store import Store, StoredObject
from consumers.store.scratch import Scratch
from events.keys import OPUS, TRANSCRIPT, VERDICT, AudioId, BatchId
from ops.recovery.rebuild.batch_reader import Announcement, BatchReader
from ops.recovery.rebuild.review_restorer import ReviewRestorer

#: Concurrent requests to the store; each may need a connection to the database.
THREADS = 8

#: Recordings that are read at a time.
_TOGETHER = 100

T = TypeVar("T")


class NothingStoredError(PermanentError):
    """The bucket holds nothing of a batch."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A batch that was rebuilt.

    Attributes:
        batch: Its id.
        recordings: Rows of recordings.
        transcripts: Those of them with a transcript.
        state: The batch's state.
    """

    batch: BatchId
    recordings: int
    transcripts: int
    state: BatchState


@dataclass(frozen=True, slots=True)
class NotRebuilt:
    """A batch that could not be rebuilt, and why."""

    batch: BatchId
    error: str


class Rebuilder:
    """Rebuilds batches.

    Args:
        store: The bucket.
        database: Writes single rows, as consumers do.
        rows: Writes whole batches.
        completion: Completes a batch whose last recording is done.
        reviews: Restores the review queue.
        scratch: For the manifest.
    """

    def __init__(
        self,
        *,
        store: Store,
        database: BatchRepository,
        rows: RebuildRepository,
        completion: Completion,
        reviews: ReviewRestorer,
        scratch: Scratch,
    ) -> None:
        self._store = store
        self._reader = BatchReader(store)
        self._database = database
        self._rows = rows
        self._completion = completion
        self._reviews = reviews
        self._scratch = scratch

    def rebuild(self, batch: BatchId, archive: Archive | None = None) -> Rebuilt:
        """Replace a batch's rows from the bucket.

        The batch's row and those of its recordings are replaced in one transaction. A crash
        after it leaves transcripts without rows, which a sweep or another run finds. A batch
        that is complete in the bucket is complete in the tables from the start, so that
        nobody announces it again.

        Args:
            batch: The batch.
            archive: What was dropped, if known.

        Raises:
            BusyError: Its archive is being read, it is being reprocessed, or its review
                items are being made.
            NothingStoredError: The bucket holds nothing of it.
            PermanentError: A stored document cannot be read.
        """
        with self._database.locks() as locks:
            # Review must not take a part of the rows for all of them.
            if not (locks.acquire(f"unpack {batch}") and locks.acquire(f"review {batch}")):
                raise BusyError(
                    f"batch {batch} is being unpacked, done again or made ready for review: "
                    "rebuild it when that is done"
                )
            manifest = self._store.head(batch.manifest_key)
            if manifest is None:
                number = self._recreate_unsealed(batch, archive)
            else:
                with self._scratch.file() as file:
                    number = self._recreate_sealed(batch, manifest, file)
            # Listed only now, with what was finished before the rows were replaced.
            audios = self._reader.audios(batch, TRANSCRIPT)
            transcripts = sum(_together(self._put_transcript, audios))
            self._put_moderations(batch)
            self._put_announcement(batch)
            self._rows.finish_announced(batch)
            self._reviews.put_back(batch)
        self._completion.complete_if_done(batch)
        row = self._database.batch(batch)
        return Rebuilt(batch, number, transcripts, row.state if row else "waiting")

    def rebuild_all(self) -> Iterator[Rebuilt | NotRebuilt]:
        """Rebuild every batch that has an object in the bucket."""
        seen = set()
        for batch, archive in self._reader.batches():
            if batch in seen:
                continue
            seen.add(batch)
            try:
                yield self.rebuild(batch, archive)
            except (PermanentError, BusyError) as exc:
                yield NotRebuilt(batch, str(exc))

    def forget(self, batch: BatchId) -> None:
        """Delete the rows of a batch, except its decided review items."""
        self._rows.forget(batch)
        self._reviews.take_out(batch)

    def _recreate_sealed(self, batch: BatchId, manifest: StoredObject, file: IO[bytes]) -> int:
        self._store.download(manifest.key, file)
        file.seek(0)
        head, entries = read_manifest(cast("BinaryIO", file))
        if head.archive.batch != batch:
            raise PermanentError(f"{manifest.key} is the manifest of batch {head.archive.batch}")
        announcement = self._reader.announcement(batch)
        if announcement is not None:
            # A worker that died right after it stored the announcement did not do this.
            archive, failed = head.archive, head.failure is not None
            retire(self._store, archive.key, archive.etag, batch, failed=failed)
        stored = StoredBatch(
            batch=batch,
            archive=head.archive,
            sealed_at=manifest.last_modified,
            rejected=head.totals["rejected"],
            ignored=head.totals["ignored"],
            failure=head.failure,
            completed_at=announcement.completion.completed_at if announcement else None,
            announced_at=announcement.announced_at if announcement else None,
            counts=announcement.completion.counts if announcement else None,
            is_moderated=self._is_moderated(head, announcement),
        )
        return self._rows.recreate(stored, _recordings(batch, entries))

    def _is_moderated(self, head: ManifestHead, announcement: Announcement | None) -> bool:
        """The latest document decides: a batch can be reprocessed after it is sealed."""
        if announcement is not None:
            return bool(announcement.completion.moderated)
        return head.moderated or self._reader.has(head.archive.batch, VERDICT)

    def _recreate_unsealed(self, batch: BatchId, archive: Archive | None) -> int:
        archive = archive or self._reader.archive(batch)
        if archive is None and not self._reader.has(batch, OPUS):
            raise NothingStoredError(
                f"the bucket {self._store.bucket} holds nothing of batch {batch}"
            )
        self._rows.recreate(StoredBatch(batch, archive), ())
        # The batch does not complete before it is sealed, so these may follow later.
        found = _together(self._reader.recording, self._reader.audios(batch, OPUS))
        return self._rows.add(batch, (each for each in found if each is not None))

    def _put_announcement(self, batch: BatchId) -> None:
        """Record that consumers completed the batch while its rows were replaced."""
        announcement = self._reader.announcement(batch)
        if announcement is not None:
            stored = StoredBatch(
                batch,
                completed_at=announcement.completion.completed_at,
                announced_at=announcement.announced_at,
                counts=announcement.completion.counts,
            )
            self._rows.announce(stored)
            if announcement.completion.moderated is None:
                # It was complete before there was a review queue, and gets no items.
                self._rows.itemised(batch, announcement.announced_at)

    def _put_moderations(self, batch: BatchId) -> None:
        for _ in _together(self._put_moderation, self._reader.audios(batch, VERDICT)):
            pass

    def _put_moderation(self, audio: AudioId) -> None:
        moderation = self._reader.moderation(audio)
        if moderation is not None and self._database.is_transcribed(audio):
            self._database.put_moderation(audio, moderation)

    def _put_transcript(self, audio: AudioId) -> bool:
        transcribed = self._reader.transcribed(audio)
        if transcribed is not None:
            self._database.put_transcript(*transcribed)
        return transcribed is not None


def _recordings(batch: BatchId, entries: Iterable[ManifestEntry]) -> Iterator[Recording]:
    for entry in entries:
        recording = Recording.of_entry(batch, entry)
        if recording is not None:
            yield recording


def _together(work: Callable[[AudioId], T], audios: Iterator[AudioId]) -> Iterator[T]:
    """Map recordings concurrently, a portion at a time, in order."""
    with ThreadPoolExecutor(THREADS, "rebuild") as executor:
        for portion in portions(audios, _TOGETHER):
            yield from executor.map(work, portion)
