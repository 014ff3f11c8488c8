"""The stage ``review``: takes a complete batch, stores the items that people are to review.

The order is: clips, the list of items, their rows, the messages to other systems. After a
crash anywhere, the next delivery makes all of them again with the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, BinaryIO, Protocol, cast

from consumers.audio.clip import Clip
from consumers.database.batches import BatchRepository
from consumers.database.review_items import ReviewItemRepository
from consumers.database.roles import READ
from consumers.documents.review.item import ReviewItem
from consumers.documents.review.item_list import ItemListWriter, read_items
from consumers.documents.transcript.doubt import DoubtLimits, doubts
from consumers.errors import BusyError, PermanentError, TransientError
from consumers.portions import portions
from consumers.runtime.observer import SILENT, Observer, step
from consumers.stages.created_object import batch_id, check_bucket, check_deleted
from consumers.stages.outcome import Outcome, outcome_of
from consumers.stages.selection import Selection, select
from consumers.stages.spec import StageSpec
from consumers.store import ObjectGoneError, Store
from consumers.store.errors import DamagedObjectError
from consumers.store.scratch import Scratch
from events.event import ObjectCreated
from events.keys import (
    CLIP,
    COMPLETE,
    REVIEW,
    AudioId,
    BatchId,
)

SPEC = StageSpec(
    writes=(CLIP, REVIEW),
    tables={
        "batches": {"SELECT": (), "UPDATE": ("itemised_at", "stalled")},
        "recordings": READ,
        "transcripts": READ,
        "verdicts": READ,
        "review_items": {"SELECT": (), "INSERT": (), "UPDATE": ()},
        "reviews": READ,
    },
)

#: Rows that are written together, and messages that are sent together.
_TOGETHER = 100


class Cutter(Protocol):
    """Cuts clips (`consumers.audio.clip.cut_clip`)."""

    def __call__(self, opus: BinaryIO, *, start: float, end: float, margin: float) -> Clip:
        """Cut a passage, with a margin before and after it; all times are in seconds."""
        ...


class Announcer(Protocol):
    """Puts messages into a queue (`consumers.broker.sender.Sender`)."""

    def announce(self, queue: str, body: str) -> None:
        """Put one message into the queue of that name."""
        ...


@dataclass(slots=True)
class _Findings:
    """A batch's items.

    Attributes:
        file: The list of items, as it is stored.
        ids: The ids of all items, those without a clip included.
        damaged: The error of the first recording from which no clip could be cut.
    """

    file: BinaryIO
    ids: list[str]
    damaged: TransientError | None


class Review:
    """The stage's handler.

    Args:
        store: The bucket.
        database: For its locks.
        itemising: The tables of items.
        announcer: Announces each item to other systems.
        queue: The name of the queue for these messages.
        scratch: Space for the recordings that are cut, and for the list of items.
        cut: Cuts clips.
        selection: What is to be reviewed besides flagged passages.
        limits: From when on a transcript is doubtful.
        log: A structlog logger.
        observer: Receives reports of the work.
    """

    #: One batch is enough work for a call.
    group = 1

    def __init__(
        self,
        *,
        store: Store,
        database: BatchRepository,
        itemising: ReviewItemRepository,
        announcer: Announcer,
        queue: str,
        scratch: Scratch,
        cut: Cutter,
        selection: Selection,
        limits: DoubtLimits,
        log: Any,
        observer: Observer = SILENT,
    ) -> None:
        self._store = store
        self._database = database
        self._itemising = itemising
        self._announcer = announcer
        self._queue = queue
        self._scratch = scratch
        self._cut = cut
        self._selection = selection
        self._limits = limits
        self._log = log.bind(route="review")
        self._observer = observer

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Outcome]:
        """Make the items of each event's batch. See `consumers.runtime.handler.Handler`."""
        return [outcome_of(partial(self._review, event)) for event in events]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Record in the batch's row why it stalls."""
        try:
            batch = batch_id(event, COMPLETE)
        except PermanentError:
            return
        self._itemising.stall(batch, error)

    def _review(self, event: ObjectCreated) -> None:
        check_bucket(event, self._store.bucket)
        batch = batch_id(event, COMPLETE)
        if self._store.head(batch.complete_key) is None:
            check_deleted(event, self._store.now())
            self._log.info(
                "batch is not complete any more, nothing to do", key=event.key, batch=str(batch)
            )
            return
        with self._database.locks() as locks:
            if not locks.acquire(f"review {batch}"):
                raise BusyError(f"another worker is making the review items of {batch}")
            self._make_items(batch)

    def _make_items(self, batch: BatchId) -> None:
        done = self._itemising.progress(batch)
        if done.completed_at is None:
            raise TransientError(
                f"{batch.complete_key} exists, but the database does not list batch {batch} as "
                f"complete. If it is not being reprocessed, run 'dropscribe rebuild {batch}'"
            )
        # Both, as the list can be deleted and the row left.
        if done.itemised_at is not None and self._store.head(batch.review_key) is not None:
            return
        with self._scratch.file() as file:
            self._publish(batch, self._find(batch, cast("BinaryIO", file)), done.completed_at)

    def _find(self, batch: BatchId, file: BinaryIO) -> _Findings:
        """Make all items, with their clips.

        A damaged recording does not fail the others: its error is raised at the end.
        """
        findings = _Findings(file, [], None)
        writer = ItemListWriter(file, batch)
        for audio, items in groupby(self._select(batch), key=lambda item: item.audio):
            of_recording = list(items)
            findings.ids.extend(item.item_id for item in of_recording)
            try:
                self._put_clips(audio, of_recording)
            except DamagedObjectError as exc:
                self._log.warning(
                    "no review clips", audio=str(audio), batch=str(batch), error=str(exc)
                )
                findings.damaged = findings.damaged or exc
            else:
                for item in of_recording:
                    writer.add(item)
        writer.finish()
        return findings

    def _select(self, batch: BatchId) -> Iterator[ReviewItem]:
        for recording in self._itemising.recordings(batch):
            doubtful = doubts(recording.transcript, self._limits)
            yield from select(recording, doubtful, self._selection)

    def _put_clips(self, audio: AudioId, items: Iterable[ReviewItem]) -> None:
        """Cut and store the clips that are missing.

        Raises:
            DamagedObjectError: The recording is not readable.
        """
        by_key = {item.clip_key: item for item in items}
        missing = [item for key, item in by_key.items() if self._store.head(key) is None]
        if not missing:
            return
        with self._scratch.file() as file:
            try:
                with step(self._observer, "read"):
                    self._store.download(audio.opus_key, file)
            except ObjectGoneError as exc:
                raise DamagedObjectError(audio.opus_key, "it does not exist") from exc
            for item in missing:
                self._put_clip(cast("BinaryIO", file), item)

    def _put_clip(self, opus: BinaryIO, item: ReviewItem) -> None:
        opus.seek(0)
        try:
            with step(self._observer, "clip"):
                clip = self._cut(
                    opus, start=item.start, end=item.end, margin=self._selection.margin
                )
        except PermanentError as exc:
            raise DamagedObjectError(item.audio.opus_key, str(exc)) from exc
        with step(self._observer, "store"):
            self._store.write(item.clip_key, clip.data, content_type="audio/ogg")

    def _publish(self, batch: BatchId, findings: _Findings, completed_at: datetime) -> None:
        """Store the list if it is whole, then the rows, then send the messages.

        Raises:
            TransientError: Some items could not be made.
        """
        if findings.damaged is None:
            self._store.write(batch.review_key, findings.file, content_type="application/json")
        with step(self._observer, "record"):
            for items in self._portions(findings):
                self._itemising.put_items(items)
            self._itemising.supersede(batch, findings.ids)
        with step(self._observer, "announce"):
            for items in self._portions(findings):
                for item in items:
                    self._announcer.announce(self._queue, message(item))
        if findings.damaged is not None:
            raise findings.damaged
        self._itemising.itemised(batch, completed_at)
        self._log.info("batch is ready for review", batch=str(batch), items=len(findings.ids))

    def _portions(self, findings: _Findings) -> Iterator[list[ReviewItem]]:
        findings.file.seek(0)
        return portions(read_items(findings.file), _TOGETHER)


def message(item: ReviewItem) -> str:
    """Write the message that announces an item: JSON, in ASCII.

    It can be sent more than once, with the same ``item_id``.
    """
    document = {"version": 1, "batch_id": str(item.audio.batch), **item.to_document()}
    return json.dumps(document, allow_nan=False)
