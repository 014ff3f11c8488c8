"""Repeating the work on a batch: from its archive, its recordings, or their transcripts.

This is the one place where states move backward. Rows are reset before their objects
are deleted, both while no consumer has the recording in hand. So after a crash the
rows claim nothing that is not in the bucket, and a sweep, or another reprocess, finds
the rest of the work. A late delivery finds its object missing, or made again, as any
delivery may.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice, product
from typing import Any

from consumers.database.batches import BatchRepository
from consumers.database.pool import Pool
from consumers.database.rebuild import RebuildRepository
from consumers.database.rows import Batch, Recording
from consumers.errors import BusyError, PermanentError
from consumers.portions import portions
from consumers.stages.completion import Completion
from consumers.stages.stored_archive import unretire
from consumers.store import ObjectGoneError, Store
from consumers.store.scratch import Scratch
from events.keys import OPUS, AudioId, BatchId
from ops.recovery.rebuild.batch_reader import BatchReader, has_content
from ops.recovery.resend import Resender

#: Recordings whose locks are held at the same time.
_TOGETHER = 64

#: Recordings that are deleted between two listings: a page of 1,000 keys holds two of each.
_LISTED = 500

#: Seconds to wait for a recording that a consumer has in hand, and between two attempts.
_PATIENCE = 60.0
_PAUSE = 0.5


class Reprocessor:
    """Repeats the work on batches.

    Attributes:
        patience: Seconds to wait for a recording that a consumer has in hand.
    """

    def __init__(
        self, store: Store, pool: Pool, resender: Resender, scratch: Scratch, log: Any
    ) -> None:
        self.patience = _PATIENCE
        self._store = store
        self._reader = BatchReader(store, scratch)
        self._database = BatchRepository(pool)
        self._rows = RebuildRepository(pool)
        self._resender = resender
        self._completion = Completion(store, self._database, log)

    def transcribe_again(
        self,
        batch: BatchId,
        only: Collection[AudioId] = (),
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Transcribe recordings again, after which the batch completes once more.

        Args:
            batch: The batch, which has to be unpacked.
            only: The recordings; empty for all.
            progress: Called with the number of events sent since the last call.

        Returns:
            The number of recordings.

        Raises:
            PermanentError: The batch is not unpacked, has no such recordings, or lacks
                an Opus object; nothing was changed.
            BusyError: A consumer keeps one of the recordings in hand.
        """
        row = self._sealed(batch, only)
        self._check_opus(batch, only)
        number = 0
        with self._held_batch(batch):
            self._keep_archive(row)
            for together in portions(self._chosen(batch, only), _TOGETHER):
                self._begin_again(batch, together)
                number += len(together)
        if not number:
            raise PermanentError(f"batch {batch} has no recordings to be transcribed")
        for audios in [sorted(only)] if only else self._unfinished(batch):
            self._resender.recordings(audios, progress)
        return number

    def moderate_again(
        self,
        batch: BatchId,
        only: Collection[AudioId] = (),
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Moderate recordings again, after which the batch completes once more.

        Transcripts stay. If moderation is switched off by now, the verdicts are only
        deleted. Parameters and result are those of `transcribe_again`.

        Raises:
            PermanentError: The batch is not unpacked, or has no such recordings with
                words; nothing was changed.
            BusyError: A consumer keeps one of the recordings in hand.
        """
        row = self._sealed(batch, only)
        number = 0
        with self._held_batch(batch):
            pages = self._transcribed(batch, only)
            first = next(pages, None)
            if first is None:
                raise PermanentError(f"batch {batch} has no recordings with words")
            self._keep_archive(row)
            for audios in chain([first], pages):
                self._judge_again(batch, audios)
                number += len(audios)
        for audios in self._unfinished(batch):
            wanted = [audio for audio in audios if not only or audio in only]
            self._resender.transcripts(wanted, progress)
        self._completion.complete_if_done(batch)
        return number

    def unpack_again(self, batch: BatchId) -> None:
        """Unpack the batch's archive again, and repeat all that follows.

        Raises:
            PermanentError: The archive is gone, or was overwritten.
            BusyError: A consumer keeps the batch in hand.
        """
        row = self._row(batch)
        archive = self._archive_of(row)
        with self._held_batch(batch):
            self._rows.unseal(batch)
            # The archive must not expire, as it is needed again.
            unretire(self._store, archive, batch)
            self._archive_of(row)
            self._unannounce(batch)
            self._store.delete(batch.manifest_key)
            # Listed from the start each time: some stores skip keys if a listing
            # continues after deletions.
            while found := list(islice(self._reader.audios(batch), _LISTED)):
                for audios in portions(found, _TOGETHER):
                    self._discard(batch, audios)
            self._rows.drop(batch)
        self._resender.archive(batch, archive)

    def _row(self, batch: BatchId) -> Batch:
        row = self._database.batch(batch)
        if row is None:
            raise PermanentError(
                f"there is no batch {batch} in the database; if the bucket has it, "
                f"'dropscribe rebuild {batch}' recreates its rows"
            )
        return row

    def _sealed(self, batch: BatchId, only: Collection[AudioId]) -> Batch:
        """Return an unpacked batch, of which all recordings are moderated afterwards, or none.

        Raises:
            PermanentError: It is not unpacked, or moderation was switched on or off since.
        """
        row = self._row(batch)
        if row.sealed_at is None:
            raise PermanentError(
                f"batch {batch} is not unpacked yet; its recordings are transcribed as they are "
                "unpacked, and --from unpack starts over"
            )
        if only and row.is_moderated != self._rows.is_moderating():
            raise PermanentError(
                f"moderation was switched {'off' if row.is_moderated else 'on'} since batch "
                f"{batch} was made: reprocess the whole batch, without --only"
            )
        return row

    def _archive_of(self, row: Batch) -> str:
        """Return the archive's key.

        Raises:
            PermanentError: The archive is gone, or was overwritten.
        """
        stored = self._store.head(row.archive_key) if row.archive_key else None
        if stored is None:
            raise PermanentError(
                f"the archive of batch {row.batch} is no longer in the bucket: retention "
                "expires archives of complete batches. Transcribe its recordings again "
                "(--from transcribe), or drop the archive again as a new batch"
            )
        if stored.etag != row.etag:
            raise PermanentError(f"{stored.key} was overwritten with other content")
        return stored.key

    def _keep_archive(self, row: Batch) -> None:
        """Keep the archive, if it still exists, until the batch is complete again."""
        if row.archive_key and has_content(self._store, row.archive_key, row.etag):
            with suppress(ObjectGoneError):
                unretire(self._store, row.archive_key, row.batch)

    def _check_opus(self, batch: BatchId, only: Collection[AudioId]) -> None:
        """Make sure that no transcript is deleted that cannot be made again.

        Raises:
            PermanentError: A recording's Opus object is gone.
        """
        stored = self._reader.audios(batch, OPUS)
        present = next(stored, None)
        for recording in self._chosen(batch, only):
            # Both iterators are sorted.
            while present is not None and present < recording.audio:
                present = next(stored, None)
            if present != recording.audio:
                raise PermanentError(
                    f"{recording.audio.opus_key} is gone, so {recording.audio} cannot be "
                    "transcribed again, and nothing was changed. --from unpack makes it again from "
                    "the archive; --only chooses other recordings"
                )

    def _chosen(self, batch: BatchId, only: Collection[AudioId]) -> Iterator[Recording]:
        """Return the chosen recordings in the state before they were transcribed.

        Raises:
            PermanentError: One of ``only`` is not among them; raised before any is given.
        """
        if not only:
            return self._converted(batch)
        chosen = [each for each in self._converted(batch) if each.audio in only]
        _check_found(only, [each.audio for each in chosen], batch, "to be transcribed")
        return iter(chosen)

    def _converted(self, batch: BatchId) -> Iterator[Recording]:
        """Return all recordings in the state before they were transcribed."""
        try:
            with self._reader.manifest(batch) as (_, recordings):
                yield from (each for each in recordings if each.state == "converted")
        except ObjectGoneError as exc:
            raise PermanentError(
                f"the manifest of batch {batch} is gone: --from unpack makes it again"
            ) from exc

    def _transcribed(
        self, batch: BatchId, only: Collection[AudioId]
    ) -> Iterator[Sequence[AudioId]]:
        """Return the chosen recordings that have words, in portions.

        Raises:
            PermanentError: One of ``only`` is not among them; raised before any is given.
        """
        pages = (
            [AudioId(batch, ordinal) for ordinal in ordinals]
            for ordinals in self._rows.transcribed(batch, per_request=_TOGETHER)
        )
        if not only:
            return pages
        chosen = [audio for page in pages for audio in page if audio in only]
        _check_found(only, chosen, batch, "with words")
        return portions(chosen, _TOGETHER)

    def _unfinished(self, batch: BatchId) -> Iterator[list[AudioId]]:
        for ordinals in self._rows.unfinished(batch):
            yield [AudioId(batch, ordinal) for ordinal in ordinals]

    def _begin_again(self, batch: BatchId, recordings: Sequence[Recording]) -> None:
        audios = [recording.audio for recording in recordings]
        with self._held(audios):
            self._rows.begin_again(batch, recordings)
            self._unannounce(batch)
            for audio in audios:
                self._delete(audio.verdict_key, audio.transcript_key)

    def _judge_again(self, batch: BatchId, audios: Sequence[AudioId]) -> None:
        with self._held(audios):
            self._rows.moderate_again(batch, [audio.ordinal for audio in audios])
            self._unannounce(batch)
            self._delete(*(audio.verdict_key for audio in audios))

    def _discard(self, batch: BatchId, audios: Sequence[AudioId]) -> None:
        with self._held(audios):
            self._rows.drop(batch, [audio.ordinal for audio in audios])
            for audio in audios:
                self._delete(audio.verdict_key, audio.transcript_key, audio.opus_key)

    def _unannounce(self, batch: BatchId) -> None:
        self._delete(batch.review_key, batch.complete_key)

    def _delete(self, *keys: str) -> None:
        for key in keys:
            self._store.delete(key)

    @contextmanager
    def _held(self, audios: Sequence[AudioId]) -> Iterator[None]:
        """Lock recordings against consumers, which might write what is about to be deleted."""
        until = time.monotonic() + self.patience
        with self._database.locks() as locks:
            for audio, work in product(audios, ("transcribe", "moderate")):
                while not locks.acquire(f"{work} {audio}"):
                    if time.monotonic() > until:
                        raise BusyError(f"a consumer has {audio} in hand ({work}): try again later")
                    time.sleep(_PAUSE)
            yield

    @contextmanager
    def _held_batch(self, batch: BatchId) -> Iterator[None]:
        """Lock a batch against unpack, rebuild, review and other reprocessing."""
        with self._database.locks() as locks:
            if not (locks.acquire(f"unpack {batch}") and locks.acquire(f"review {batch}")):
                raise BusyError(
                    f"batch {batch} is being unpacked, rebuilt, reprocessed or made ready for "
                    "review: try again later"
                )
            yield


def _check_found(
    only: Collection[AudioId], found: Collection[AudioId], batch: BatchId, which: str
) -> None:
    missing = set(only).difference(found)
    if missing:
        names = ", ".join(str(audio) for audio in sorted(missing))
        raise PermanentError(f"batch {batch} has no such recordings {which}: {names}")
