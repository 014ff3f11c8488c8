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
from typing import BinaryIO, cast

from consumers.audio.clip import cut_clip
from consumers.broker.sender import Sender
from consumers.database.review_items import ReviewItemRepository
from consumers.database.roles import READ
from consumers.documents.review.item import ReviewItem
from consumers.documents.review.item_list import ItemListWriter, read_items
from consumers.documents.transcript.doubt import DoubtLimits, doubts
from consumers.errors import PermanentError, TransientError
from consumers.portions import portions
from consumers.runtime.observer import step
from consumers.stages.created_object import batch_id
from consumers.stages.selection import Selection, select
from consumers.stages.spec import StageSpec
from consumers.stages.stage_handler import Outcome, StageContext, StageHandler, outcome_of
from consumers.store import ObjectGoneError
from consumers.store.errors import DamagedObjectError
from consumers.store.scratch import Scratch
from events.event import ObjectCreated
from events.keys import CLIP, COMPLETE, REVIEW, AudioId, BatchId, ClipKey, parse_key

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


class Review(StageHandler):
    """Stores the review items of complete batches."""

    _name = "review"
    _activity = "making the review items of"
    _absence = "batch is not complete any more"

    #: One batch is enough work for a call.
    group = 1

    def __init__(
        self,
        context: StageContext,
        *,
        itemising: ReviewItemRepository,
        sender: Sender,
        queue: str,
        scratch: Scratch,
        selection: Selection,
        limits: DoubtLimits,
    ) -> None:
        """Use the tables of items, and the queue that announces each item to other systems."""
        super().__init__(context)
        self._itemising = itemising
        self._sender = sender
        self._queue = queue
        self._scratch = scratch
        self._selection = selection
        self._limits = limits

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Outcome]:
        """Make the items of each event's batch."""
        return [outcome_of(partial(self._review, event)) for event in events]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Record in the batch's row why it stalls."""
        try:
            batch = batch_id(event, COMPLETE)
        except PermanentError:
            return
        self._itemising.stall(batch, error)

    def _review(self, event: ObjectCreated) -> None:
        self._check_bucket(event)
        batch = batch_id(event, COMPLETE)
        if self._store.head(batch.complete_key) is None:
            self._skip_deleted(event)
            return
        with self._database.locks() as locks:
            self._lock(locks, batch)
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
        key = parse_key(item.clip_key)
        try:
            with step(self._observer, "clip"):
                clip = cut_clip(
                    opus,
                    start=item.start,
                    end=item.end,
                    margin=self._selection.margin,
                    channel=key.channel if isinstance(key, ClipKey) else None,
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
                    self._sender.announce(self._queue, message(item))
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
