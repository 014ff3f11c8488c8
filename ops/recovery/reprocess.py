"""Doing a batch again: from its archive, its recordings, or their transcripts.

The one place where states move backward. Rows go back before the objects that
they came from are deleted, and both while no consumer has the recording in
hand: whatever a crash leaves, the rows claim nothing that is not in the bucket,
and a sweep, or doing this again, finds what is left to do. A delivery from
before finds what any other finds: an object that is not there yet, or anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import BinaryIO, TypeVar, cast

from consumers.database.batches import BatchRepository, Locks
from consumers.database.rebuild import RebuildRepository
from consumers.database.rows import Batch, Recording
from consumers.documents.manifest import read_manifest
from consumers.errors import BusyError, PermanentError
from consumers.stages.completion import Completion
from consumers.stages.stored_archive import unretire
from consumers.store import ObjectGoneError, Store
from consumers.store.scratch import Scratch
from events.keys import OPUS, AudioId, BatchId
from ops.recovery.rebuild.batch_reader import BatchReader
from ops.recovery.resend import Resender

#: Recordings whose locks are held at a time.
_TOGETHER = 64

#: Recordings that are deleted between two listings; a page holds two objects of each.
_LISTED = 500

#: Seconds to wait for a recording that a consumer has in hand, and between looks.
_PATIENCE = 60.0
_PAUSE = 0.5

T = TypeVar("T")


class Reprocessor:
    """Does batches again.

    Args:
        store: The bucket.
        database: The tables, as the consumers use them.
        rows: The tables, as states are moved back.
        resender: Sends the events.
        completion: Completes a batch of which nothing is left to do.
        scratch: For the manifest.
        patience: Seconds to wait for what a consumer has in hand.
    """

    def __init__(
        self,
        *,
        store: Store,
        database: BatchRepository,
        rows: RebuildRepository,
        resender: Resender,
        completion: Completion,
        scratch: Scratch,
        patience: float = _PATIENCE,
    ) -> None:
        self._store = store
        self._reader = BatchReader(store)
        self._database = database
        self._rows = rows
        self._resender = resender
        self._completion = completion
        self._scratch = scratch
        self._patience = patience

    def transcribe_again(
        self,
        batch: BatchId,
        only: Collection[AudioId] = (),
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Have recordings transcribed again, all of the batch's or ``only`` some.

        The batch then completes once more.

        Args:
            batch: Which; it has to be unpacked.
            only: These recordings of it; none named is all.
            progress: Called with how many were told, now and then.

        Returns:
            How many.

        Raises:
            PermanentError: The batch is not unpacked, or has no such recordings, or
                there is nothing more to be heard of one; then nothing was changed.
            BusyError: A consumer has one of them in hand, and does not end.
        """
        row = self._sealed(batch)
        self._check_stage(row, only)
        self._check_opus(batch, only)
        number = 0
        with self._database.locks() as locks:
            self._hold_batch(locks, batch)
            self._keep_archive(row)
            for together in _portions(self._chosen(batch, only), _TOGETHER):
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
        """Have recordings checked against the policies of now, all of the batch's or ``only`` some.

        Transcripts stay as they are. Where there are no policies any more, the
        verdicts go, and nothing is told. The batch then completes once more.

        Args:
            batch: Which; it has to be unpacked.
            only: These recordings of it; none named is all.
            progress: Called with how many were told, now and then.

        Returns:
            How many.

        Raises:
            PermanentError: The batch is not unpacked, or has no such recordings that have
                words; then nothing was changed.
            BusyError: A consumer has one of them in hand, and does not end.
        """
        row = self._sealed(batch)
        self._check_stage(row, only)
        number = 0
        with self._database.locks() as locks:
            self._hold_batch(locks, batch)
            pages = self._transcribed(batch, only)
            first = next(pages, None)
            if first is None:
                raise PermanentError(f"batch {batch} has no recordings with words to be checked")
            self._keep_archive(row)
            for audios in chain([first], pages):
                self._judge_again(batch, audios)
                number += len(audios)
        for audios in self._unfinished(batch):
            wanted = [audio for audio in audios if not only or audio in only]
            self._resender.transcripts(wanted, progress)
        self._completion.look(batch)
        return number

    def unpack_again(self, batch: BatchId) -> None:
        """Have the batch's archive unpacked again, and all that follows.

        Raises:
            PermanentError: The archive is not there any more.
            BusyError: A consumer has the batch in hand, and does not end.
        """
        row = self._row(batch)
        archive = self._archive_of(row)
        with self._database.locks() as locks:
            self._hold_batch(locks, batch)
            self._rows.unseal(batch)
            # The archive is needed again, so it must not expire.
            unretire(self._store, archive, batch)
            self._archive_of(row)
            self._unannounce(batch)
            self._store.delete(batch.manifest_key)
            # Listed from the start each time, as not every store goes on well in a
            # listing from which it was deleted.
            while found := list(islice(self._reader.audios(batch), _LISTED)):
                for audios in _portions(iter(found), _TOGETHER):
                    self._discard(batch, audios)
            self._rows.drop(batch)
        self._resender.archive(batch, archive)

    def _row(self, batch: BatchId) -> Batch:
        row = self._database.batch(batch)
        if row is None:
            raise PermanentError(
                f"there is no batch {batch} on record; if the bucket has it, "
                f"'dropscribe rebuild {batch}' puts it there"
            )
        return row

    def _sealed(self, batch: BatchId) -> Batch:
        row = self._row(batch)
        if row.sealed_at is None:
            raise PermanentError(
                f"batch {batch} is not unpacked yet, its recordings are transcribed as they come; "
                "--from unpack begins it anew"
            )
        return row

    def _check_stage(self, row: Batch, only: Collection[AudioId]) -> None:
        """Make sure that a part of a batch is not done in another way than the rest.

        Raises:
            PermanentError: It would be.
        """
        if only and row.is_moderated != self._rows.is_moderating():
            raise PermanentError(
                f"moderation was switched {'off' if row.is_moderated else 'on'} since batch "
                f"{row.batch} was made: do it again as a whole, without --only"
            )

    def _archive_of(self, row: Batch) -> str:
        """Give the archive's key, if it is there still.

        Raises:
            PermanentError: It is not.
        """
        stored = self._store.head(row.archive_key) if row.archive_key else None
        if stored is None:
            raise PermanentError(
                f"the archive of batch {row.batch} is not in the bucket any more: retention "
                "expires the archives of complete batches. Its recordings can be transcribed "
                "again (--from transcribe), or the archive dropped again as a new batch"
            )
        if stored.etag != row.etag:
            raise PermanentError(f"{stored.key} was overwritten with other content")
        return stored.key

    def _keep_archive(self, row: Batch) -> None:
        """Have the archive, if it is there still, not expire before the batch is complete again."""
        stored = self._store.head(row.archive_key) if row.archive_key else None
        if stored is not None and stored.etag == row.etag:
            with suppress(ObjectGoneError):
                unretire(self._store, stored.key, row.batch)

    def _check_opus(self, batch: BatchId, only: Collection[AudioId]) -> None:
        """Make sure that what is to be heard again is there: a transcript may be all that is left.

        Raises:
            PermanentError: A recording's Opus object is gone.
        """
        stored = self._reader.audios(batch, OPUS)
        present = next(stored, None)
        for recording in self._chosen(batch, only):
            # Both are in order.
            while present is not None and present < recording.audio:
                present = next(stored, None)
            if present != recording.audio:
                raise PermanentError(
                    f"{recording.audio.opus_key} is gone, so {recording.audio} can't be heard "
                    "again, and nothing was changed: --from unpack makes it anew, as long as the "
                    "archive is there; --only names those that are to be transcribed"
                )

    def _chosen(self, batch: BatchId, only: Collection[AudioId]) -> Iterator[Recording]:
        """Give the recordings that are to be transcribed, as they were before that.

        Raises:
            PermanentError: One of ``only`` is none of them; nothing was given until then.
        """
        if not only:
            return self._converted(batch)
        chosen = [each for each in self._converted(batch) if each.audio in only]
        missing = set(only) - {recording.audio for recording in chosen}
        if missing:
            names = ", ".join(str(audio) for audio in sorted(missing))
            raise PermanentError(f"batch {batch} has no such recordings to be transcribed: {names}")
        return iter(chosen)

    def _converted(self, batch: BatchId) -> Iterator[Recording]:
        """Give the recordings as they were before they were transcribed."""
        with self._scratch.file() as file:
            try:
                self._store.download(batch.manifest_key, file)
            except ObjectGoneError as exc:
                raise PermanentError(
                    f"the manifest of batch {batch} is gone: --from unpack writes it again"
                ) from exc
            file.seek(0)
            _, entries = read_manifest(cast("BinaryIO", file))
            for entry in entries:
                recording = Recording.of_entry(batch, entry)
                if recording is not None and recording.state == "converted":
                    yield recording

    def _transcribed(
        self, batch: BatchId, only: Collection[AudioId]
    ) -> Iterator[Sequence[AudioId]]:
        """Give the recordings that have words, some at a time.

        Raises:
            PermanentError: One of ``only`` is none of them; nothing was given until then.
        """
        pages = (
            [AudioId(batch, ordinal) for ordinal in ordinals]
            for ordinals in self._rows.transcribed(batch, per_request=_TOGETHER)
        )
        if not only:
            return pages
        chosen = [audio for page in pages for audio in page if audio in only]
        if missing := set(only) - set(chosen):
            names = ", ".join(str(audio) for audio in sorted(missing))
            raise PermanentError(f"batch {batch} has no such recordings with words: {names}")
        return _portions(iter(chosen), _TOGETHER)

    def _unfinished(self, batch: BatchId) -> Iterator[list[AudioId]]:
        for ordinals in self._rows.unfinished(batch):
            yield [AudioId(batch, ordinal) for ordinal in ordinals]

    def _begin_again(self, batch: BatchId, recordings: Sequence[Recording]) -> None:
        audios = [recording.audio for recording in recordings]
        with self._database.locks() as locks:
            self._hold(locks, audios)
            self._rows.begin_again(batch, recordings)
            self._unannounce(batch)
            for audio in audios:
                self._store.delete(audio.verdict_key)
                self._store.delete(audio.transcript_key)

    def _judge_again(self, batch: BatchId, audios: Sequence[AudioId]) -> None:
        with self._database.locks() as locks:
            self._hold(locks, audios)
            self._rows.moderate_again(batch, [audio.ordinal for audio in audios])
            self._unannounce(batch)
            for audio in audios:
                self._store.delete(audio.verdict_key)

    def _unannounce(self, batch: BatchId) -> None:
        self._store.delete(batch.review_key)
        self._store.delete(batch.complete_key)

    def _discard(self, batch: BatchId, audios: Sequence[AudioId]) -> None:
        with self._database.locks() as locks:
            self._hold(locks, audios)
            self._rows.drop(batch, [audio.ordinal for audio in audios])
            for audio in audios:
                self._store.delete(audio.verdict_key)
                self._store.delete(audio.transcript_key)
                self._store.delete(audio.opus_key)

    def _hold_batch(self, locks: Locks, batch: BatchId) -> None:
        """Keep unpack, rebuild, review and other reprocessing from the batch."""
        if not (locks.acquire(f"unpack {batch}") and locks.acquire(f"review {batch}")):
            raise BusyError(
                f"batch {batch} is being unpacked, rebuilt, reprocessed or made ready for review "
                "at this moment: try again when that is done"
            )

    def _hold(self, locks: Locks, audios: Iterable[AudioId]) -> None:
        """Keep consumers from the recordings: one that has read a transcript would write it."""
        until = time.monotonic() + self._patience
        for audio in audios:
            for work in ("transcribe", "moderate"):
                while not locks.acquire(f"{work} {audio}"):
                    if time.monotonic() > until:
                        raise BusyError(
                            f"a consumer has {audio} in hand at this moment ({work}): try again "
                            "when it is done"
                        )
                    time.sleep(_PAUSE)


def _portions(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while portion := list(islice(items, size)):
        yield portion
