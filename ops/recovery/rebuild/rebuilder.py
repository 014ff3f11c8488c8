"""Replacing a batch's rows from the bucket, while consumers work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from consumers.database.batches import BatchRepository
from consumers.database.pool import Pool
from consumers.database.rebuild import RebuildRepository, StoredBatch
from consumers.database.review_items import ReviewItemRepository
from consumers.database.review_queue import ReviewQueueRepository
from consumers.database.rows import BatchState
from consumers.documents.completion import BatchCompletion
from consumers.documents.manifest import Archive, ManifestHead
from consumers.documents.review.decision import Decision
from consumers.errors import BusyError, PermanentError
from consumers.portions import portions
from consumers.stages.completion import Completion
from consumers.stages.stored_archive import FAILED, KEPT, archive_state, final_state, retire
from consumers.store import Store, StoredObject
from consumers.store.scratch import Scratch
from events.keys import OPUS, TRANSCRIPT, VERDICT, AudioId, BatchId
from ops.recovery.rebuild.batch_reader import Announcement, BatchReader

#: Concurrent requests to the store; each may need a connection to the database.
THREADS = 8

#: Recordings that are read, and review items that are written, at a time.
_TOGETHER = 100

T = TypeVar("T")


class NothingStoredError(PermanentError):
    """The bucket holds nothing of a batch."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A batch that was rebuilt, with the numbers of its recordings and transcripts."""

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
    """Rebuilds batches, with their review items and decisions."""

    def __init__(self, store: Store, pool: Pool, scratch: Scratch, log: Any) -> None:
        self._store = store
        self._reader = BatchReader(store, scratch)
        self._database = BatchRepository(pool)
        self._rows = RebuildRepository(pool)
        self._items = ReviewItemRepository(pool)
        self._decisions = ReviewQueueRepository(pool)
        self._completion = Completion(store, self._database, log)

    def rebuild(self, batch: BatchId, archive: Archive | None = None) -> Rebuilt:
        """Replace a batch's rows from the bucket.

        The batch's row and those of its recordings are replaced in one transaction. A crash
        after it leaves transcripts without rows, which a sweep or another run finds. A batch
        that is complete in the bucket is complete in the tables from the start, so that
        nobody announces it again.

        Args:
            batch: The batch.
            archive: What was dropped; None to look for it.

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
                number = self._recreate_sealed(batch, manifest)
                self._put_sidecars(batch)
            # Listed only now, with what was finished before the rows were replaced.
            audios = self._reader.audios(batch, TRANSCRIPT)
            transcripts = sum(_together(self._put_transcript, audios))
            self._put_moderations(batch)
            self._put_announcement(batch)
            self._rows.finish_announced(batch)
            self._put_review(batch)
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

    def restore_conversions(self, batch: BatchId, ordinals: Collection[int]) -> None:
        """Write some recordings' rows from the manifest, which alone has all notes and tags."""
        with self._reader.manifest(batch) as (_, recordings):
            for recording in recordings:
                if recording.audio.ordinal in ordinals:
                    self._database.put_recording(recording)

    def forget(self, batch: BatchId) -> None:
        """Delete the rows of a batch, except its decided review items."""
        self._rows.forget(batch)
        self._items.supersede(batch, ())

    def _recreate_sealed(self, batch: BatchId, manifest: StoredObject) -> int:
        with self._reader.manifest(batch) as (head, recordings):
            if head.archive.batch != batch:
                raise PermanentError(
                    f"{manifest.key} is the manifest of batch {head.archive.batch}"
                )
            announcement = self._reader.announcement(batch)
            if announcement is not None:
                self._retire(head, announcement.completion)
            stored = StoredBatch(
                batch=batch,
                archive=head.archive,
                sealed_at=manifest.last_modified,
                rejected=head.totals["rejected"],
                ignored=head.totals["ignored"],
                failure=head.failure,
                notes=head.notes,
                is_kept=announcement is not None and self._is_kept(head.archive),
                completed_at=announcement.completion.completed_at if announcement else None,
                announced_at=announcement.announced_at if announcement else None,
                counts=announcement.completion.counts if announcement else None,
                is_moderated=self._is_moderated(head, announcement),
            )
            return self._rows.recreate(stored, recordings)

    def _put_sidecars(self, batch: BatchId) -> None:
        with self._reader.sidecars(batch) as sidecars:
            for sidecar in sidecars:
                self._database.put_sidecar(sidecar)

    def _retire(self, head: ManifestHead, completion: BatchCompletion) -> None:
        """Tag the archive if a worker died right after it stored the announcement.

        A tag says more than the documents: somebody may have released the archive.
        """
        archive = head.archive
        if archive_state(self._store, archive.key, archive.etag) is None:
            state = final_state(
                failed=head.failure is not None,
                rejected=completion.counts.get("rejected", 0),
                with_losses=completion.with_losses or 0,
                notes=head.notes,
            )
            retire(self._store, archive.key, archive.etag, archive.batch, state)

    def _is_kept(self, archive: Archive) -> bool:
        return archive_state(self._store, archive.key, archive.etag) in {KEPT, FAILED}

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
            row = self._database.batch(batch)
            is_kept = (
                row is not None
                and row.archive_key is not None
                and row.etag is not None
                and archive_state(self._store, row.archive_key, row.etag) in {KEPT, FAILED}
            )
            stored = StoredBatch(
                batch,
                completed_at=announcement.completion.completed_at,
                announced_at=announcement.announced_at,
                counts=announcement.completion.counts,
                is_kept=is_kept,
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

    def _put_review(self, batch: BatchId) -> None:
        """Restore a batch's review items and decisions; existing ones stay.

        A list of items that is older than the batch's last completion may lack some: then
        the batch counts as not itemised, and a sweep resends its event.

        Raises:
            PermanentError: A stored document cannot be read; everything else is written.
        """
        keys = self._reader.decision_keys(batch)
        damaged = [error for key in keys if (error := self._put_decision(key))]
        stored = self._store.head(batch.review_key)
        if stored is not None:
            self._put_items(batch)
            announced = self._store.head(batch.complete_key)
            if announced is not None and announced.last_modified <= stored.last_modified:
                self._rows.itemised(batch, stored.last_modified)
        if damaged:
            raise PermanentError("; ".join(damaged))

    def _put_decision(self, key: str) -> str | None:
        """Write a decision and its item; returns the error, if any."""
        try:
            decision = Decision.from_json(self._store.read(key), key)
        except PermanentError as exc:
            return str(exc)
        # Its item may be of an earlier round, and in no list.
        self._items.put_items([decision.item])
        self._decisions.put_decision(decision)
        return None

    def _put_items(self, batch: BatchId) -> None:
        ids = []
        with self._reader.review_items(batch) as items:
            for together in portions(items, _TOGETHER):
                self._items.put_items(together)
                ids += [item.item_id for item in together]
        self._items.supersede(batch, ids)


def _together(work: Callable[[AudioId], T], audios: Iterator[AudioId]) -> Iterator[T]:
    """Map recordings concurrently, a portion at a time, in order."""
    with ThreadPoolExecutor(THREADS, "rebuild") as executor:
        for portion in portions(audios, _TOGETHER):
            yield from executor.map(work, portion)
