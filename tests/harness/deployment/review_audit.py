"""Audit of verdicts, review items, clips and messages."""

from __future__ import annotations

import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from consumers.documents.review.item import ItemKind, ReviewItem
from consumers.documents.review.item_list import read_items
from consumers.documents.verdict import PolicyVerdict
from consumers.errors import PermanentError
from consumers.store import ObjectGoneError, Store
from events.keys import AudioId, BatchId
from tests.harness.deployment.batches import Plan

#: Seconds by which a clip, which holds the whole recording, may differ from it.
_TOLERANCE = 0.05

_Row = Mapping[str, Any]


@dataclass(slots=True)
class Reviews:
    """What became of it.

    Attributes:
        judged: Recordings that are, as planned.
        flagged: Of these.
        misjudged: Recordings without a verdict, or with another than planned.
        unreviewed: Missing, broken or unannounced review items.
        duplicated: Items that should not be there, or are twice.
        clips: Keys of the items' clips.
    """

    judged: int = 0
    flagged: int = 0
    items: int = 0
    misjudged: list[str] = field(default_factory=list)
    unreviewed: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    clips: set[str] = field(default_factory=set)


class ReviewsAudit:
    """Looks through a bucket and its tables.

    Args:
        url: The database's URL for its superuser.
        announced: Messages of the review queue, by the items' ids.
    """

    def __init__(
        self,
        store: Store,
        url: str,
        plans: Mapping[BatchId, Plan],
        announced: Mapping[str, _Row],
    ) -> None:
        self._store = store
        self._plans = plans
        self._announced = announced
        with psycopg.connect(url, row_factory=dict_row) as connection:
            self._verdicts = _by_batch(connection, "verdicts", plans)
            self._items = _by_batch(connection, "review_items", plans)
        self._reviews = Reviews()

    def run(self, recordings: Mapping[str, Sequence[_Row]]) -> Reviews:
        """Compare the results with the dropped archives.

        Every recording with words is to be judged, and ends with one item: as it is
        flagged, or as one of the sample, which is all others.
        """
        for batch, plan in self._plans.items():
            judged = {
                AudioId(batch, row["ordinal"]): row
                for row in recordings.get(str(batch), ())
                if plan.states.get(row["path"]) == "moderated"
            }
            self._check_verdicts(batch, plan, judged)
            self._check_items(batch, plan, judged)
        return self._reviews

    def _check_verdicts(self, batch: BatchId, plan: Plan, judged: Mapping[AudioId, _Row]) -> None:
        said = defaultdict(list)
        for row in self._verdicts.get(str(batch), ()):
            said[AudioId(batch, row["ordinal"])].append((row["policy"], row["flagged"]))
        for audio in said.keys() - judged.keys():
            self._reviews.duplicated.append(f"{audio}: judged, though nothing is said in it")
        for audio, row in judged.items():
            is_flagged = row["path"] in plan.flagged
            expected = [("length", is_flagged)]
            stored = self._stored_verdict(audio)
            if stored == said[audio] == expected and row["flagged"] == is_flagged:
                self._reviews.judged += 1
                self._reviews.flagged += is_flagged
            else:
                self._reviews.misjudged.append(
                    f"{audio}: {stored} is stored and {said[audio]} on record, not {expected}"
                )

    def _stored_verdict(self, audio: AudioId) -> list[tuple[str, bool]] | str:
        try:
            moderation = PolicyVerdict.from_json(self._store.read(audio.verdict_key))
        except (ObjectGoneError, PermanentError) as exc:
            return str(exc)
        return [(finding.policy, finding.flagged) for finding in moderation.findings]

    def _check_items(self, batch: BatchId, plan: Plan, judged: Mapping[AudioId, _Row]) -> None:
        items = self._listed(batch)
        expected: Counter[tuple[AudioId, ItemKind]] = Counter(
            (audio, "flagged" if row["path"] in plan.flagged else "sample")
            for audio, row in judged.items()
        )
        found = Counter((item.audio, item.kind) for item in items)
        for (audio, kind), times in (expected - found).items():
            self._reviews.unreviewed.append(f"{audio}: {times} x {kind} is not listed")
        for (audio, kind), times in (found - expected).items():
            self._reviews.duplicated.append(f"{audio}: {times} x {kind} too much is listed")
        self._check_rows(batch, items)
        for item in items:
            self._reviews.clips.add(item.clip_key)
            faults = list(self._faults(item, judged.get(item.audio)))
            self._reviews.unreviewed.extend(f"{item.item_id}: {fault}" for fault in faults)
            self._reviews.items += not faults

    def _listed(self, batch: BatchId) -> list[ReviewItem]:
        try:
            return list(read_items(io.BytesIO(self._store.read(batch.review_key))))
        except (ObjectGoneError, PermanentError) as exc:
            self._reviews.unreviewed.append(f"{batch}: {exc}")
            return []

    def _check_rows(self, batch: BatchId, items: Sequence[ReviewItem]) -> None:
        listed = {item.item_id for item in items}
        rows = self._items.get(str(batch), ())
        on_record = {row["item_id"] for row in rows if row["superseded_at"] is None}
        for name in listed - on_record:
            self._reviews.unreviewed.append(f"{name}: not on record")
        for name in {row["item_id"] for row in rows} - listed:
            self._reviews.duplicated.append(f"{name}: on record, and not listed")

    def _faults(self, item: ReviewItem, recording: _Row | None) -> Iterator[str]:
        expected = {"version": 1, "batch_id": str(item.audio.batch), **item.to_document()}
        if self._announced.get(item.item_id) != expected:
            yield f"announced as {self._announced.get(item.item_id)}"
        try:
            seconds = _seconds(self._store.read(item.clip_key))
        except (ObjectGoneError, PermanentError, av.FFmpegError) as exc:
            yield f"its clip cannot be decoded: {exc}"
            return
        if recording is not None and abs(seconds - recording["duration"]) > _TOLERANCE:
            yield f"its clip lasts {seconds:.3f} s, not {recording['duration']:.3f}"


def _by_batch(
    connection: psycopg.Connection[dict[str, Any]], table: str, batches: Iterable[BatchId]
) -> Mapping[str, Sequence[_Row]]:
    query = sql.SQL("SELECT * FROM {} WHERE batch_id = ANY(%s)").format(sql.Identifier(table))
    rows = defaultdict(list)
    for row in connection.execute(query, [[str(batch) for batch in batches]]):
        rows[row["batch_id"]].append(row)
    return rows


def _seconds(clip: bytes) -> float:
    """Decode a clip, and measure its duration."""
    with av.open(io.BytesIO(clip), "r", format="ogg") as container:
        frames = container.decode(container.streams.audio[0])
        return math.fsum(frame.samples / frame.sample_rate for frame in frames)
