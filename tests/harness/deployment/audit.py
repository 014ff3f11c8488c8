"""Audit of bucket, rows, review items and messages against the dropped archives."""

from __future__ import annotations

import io
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
from events.keys import PROCESSED, AudioId, BatchId, batch_of
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


@dataclass(frozen=True, slots=True)
class Audit:
    """The results of the dropped archives.

    Attributes:
        recordings: Dropped in them.
        done: Recordings that ended moderated, or silent, as planned.
        rejected: That ended rejected, as planned.
        judged: Recordings with the verdict that was planned.
        flagged: Of these.
        items: Review items that are listed, on record and announced, with a clip that plays.
        lost: Recordings, or their objects, that are not there, or ended otherwise than planned.
        misjudged: Recordings without a verdict, or with another than planned.
        unreviewed: Missing, broken or unannounced review items.
        duplicated: Rows, objects and review items of no dropped archive, and recordings that
            ended twice.
        never_completed: Batches, or not ready for review.
        stuck: Batches and recordings that do not go on by themselves.
    """

    batches: int
    recordings: int
    done: int
    rejected: int
    judged: int
    flagged: int
    items: int
    lost: Sequence[str]
    misjudged: Sequence[str]
    unreviewed: Sequence[str]
    duplicated: Sequence[str]
    completed_twice: Sequence[str]
    never_completed: Sequence[str]
    stuck: Sequence[str]

    @property
    def faults(self) -> Mapping[str, Sequence[str]]:
        """What is not as it has to be, by kind; empty if all is well."""
        lists = {name: value for name, value in asdict(self).items() if isinstance(value, list)}
        return {name: found for name, found in lists.items() if found}


@dataclass(frozen=True, slots=True)
class _Rows:
    batches: Mapping[str, dict[str, Any]]
    recordings: Mapping[str, Sequence[dict[str, Any]]]
    ends: Counter[str]


def audit(
    store: Store,
    url: str,
    plans: Mapping[BatchId, Plan],
    known: Collection[BatchId],
    announced: Mapping[str, Mapping[str, Any]],
) -> Audit:
    """Compare bucket and rows with the dropped archives.

    Args:
        url: The database's URL for its superuser.
        known: What was dropped besides, and is not looked at.
        announced: Messages of the review queue, by the items' ids.
    """
    others = {str(batch) for batch in known if batch not in plans}
    rows = _read_rows(url, others)
    reviews = ReviewsAudit(store, url, plans, announced).run(rows.recordings)
    expected = {key for batch, plan in plans.items() for key in _keys(batch, plan, rows)}
    expected |= reviews.clips
    present = {key for key in store.keys(PROCESSED) if str(batch_of(key)) not in others}
    ended = Counter(
        state if state in {"moderated", "silent"} else "rejected"
        for batch, plan in plans.items()
        for path, state in plan.states.items()
        if _states(rows, batch).get(path) == [state]
    )
    return Audit(
        batches=len(plans),
        recordings=sum(len(plan.states) for plan in plans.values()),
        done=ended["moderated"] + ended["silent"],
        rejected=ended["rejected"],
        judged=reviews.judged,
        flagged=reviews.flagged,
        items=reviews.items,
        lost=[*_lost(rows, plans), *sorted(expected - present)],
        misjudged=reviews.misjudged,
        unreviewed=reviews.unreviewed,
        duplicated=[*_duplicated(rows, plans), *reviews.duplicated, *sorted(present - expected)],
        completed_twice=[str(batch) for batch in plans if rows.ends[str(batch)] > 1],
        never_completed=[
            str(batch) for batch, plan in plans.items() if not _over(rows, batch, plan)
        ],
        stuck=[*_stuck(rows)],
    )


def _read_rows(url: str, others: Collection[str]) -> _Rows:
    left_out = {"others": list(others)}
    with psycopg.connect(url, row_factory=dict_row) as connection:
        recordings = defaultdict(list)
        for row in connection.execute(
            "SELECT * FROM recordings WHERE batch_id <> ALL(%(others)s)", left_out
        ):
            recordings[row["batch_id"]].append(row)
        batches = connection.execute(
            "SELECT * FROM batches WHERE batch_id <> ALL(%(others)s)", left_out
        )
        ends = connection.execute(
            "SELECT what FROM soak_ends WHERE left(what, 22) <> ALL(%(others)s)", left_out
        )
        return _Rows(
            batches={row["batch_id"]: row for row in batches},
            recordings=recordings,
            ends=Counter(row["what"] for row in ends),
        )


def _states(rows: _Rows, batch: BatchId) -> Mapping[str, list[str]]:
    """Give the states of a batch's rows by path: one each, if all is well."""
    states = defaultdict(list)
    for row in rows.recordings.get(str(batch), ()):
        states[row["path"]].append(row["state"])
    return states


def _keys(batch: BatchId, plan: Plan, rows: _Rows) -> Iterator[str]:
    """Name every object that a batch has to end with."""
    yield batch.manifest_key
    yield batch.complete_key
    yield batch.review_key
    for row in rows.recordings.get(str(batch), ()):
        audio, state = AudioId(batch, row["ordinal"]), plan.states.get(row["path"])
        if state in {"moderated", "silent"}:
            yield audio.opus_key
            yield audio.transcript_key
        if state == "moderated":
            yield audio.verdict_key


def _lost(rows: _Rows, plans: Mapping[BatchId, Plan]) -> Iterator[str]:
    for batch, plan in plans.items():
        states = _states(rows, batch)
        for path, state in plan.states.items():
            if state not in states.get(path, ()):
                yield f"{batch}: {path} is {states.get(path, 'not there')}, not {state}"


def _duplicated(rows: _Rows, plans: Mapping[BatchId, Plan]) -> Iterator[str]:
    dropped = {str(batch): plan for batch, plan in plans.items()}
    for stranger in rows.batches.keys() - dropped.keys():
        yield f"{stranger}: nobody dropped it"
    for batch, plan in plans.items():
        for path, states in _states(rows, batch).items():
            if path not in plan.states or len(states) > 1:
                yield f"{batch}: {path} is there as {states}"
    for what, times in rows.ends.items():
        if times > 1 and what not in dropped:
            yield f"{what}: ended {times} times"


def _over(rows: _Rows, batch: BatchId, plan: Plan) -> bool:
    row = rows.batches.get(str(batch))
    if row is None or None in (row["announced_at"], row["itemised_at"]):
        return False
    return (row["failure"] is not None) == plan.is_cut


def _stuck(rows: _Rows) -> Iterator[str]:
    everything: Iterable[dict[str, Any]] = (
        *rows.batches.values(),
        *(row for each in rows.recordings.values() for row in each),
    )
    for row in everything:
        if row["stalled"] is not None:
            yield f"{row['batch_id']} {row.get('ordinal', '')}: {row['stalled']}"
