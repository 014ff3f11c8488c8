"""Audit of bucket and rows against the dropped archives."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from consumers.store import Store
from events.keys import PROCESSED, AudioId, BatchId, batch_of
from tests.harness.deployment.batches import Plan
from tests.harness.deployment.review_audit import ReviewsAudit


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
