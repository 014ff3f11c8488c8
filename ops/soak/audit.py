"""Comparing bucket, rows, queues and scratch with what was dropped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from consumers.store import Store
from events.keys import PROCESSED, AudioId, BatchId, batch_of
from ops.soak.batches import Plan

#: The database itself notes each time that a recording ends or a batch completes,
#: so that one which did so twice is seen, whatever its row says afterwards.
_WITNESS = """
    CREATE TABLE soak_ends (what text NOT NULL);
    CREATE FUNCTION soak_end() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO soak_ends VALUES (
            CASE TG_TABLE_NAME
                WHEN 'batches' THEN NEW.batch_id
                ELSE NEW.batch_id || '-' || lpad((to_jsonb(NEW) ->> 'ordinal'), 7, '0')
            END
        );
        RETURN NULL;
    END $$;
    CREATE TRIGGER soak_recording_updated AFTER UPDATE ON recordings FOR EACH ROW
        WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)
        EXECUTE FUNCTION soak_end();
    CREATE TRIGGER soak_recording_inserted AFTER INSERT ON recordings FOR EACH ROW
        WHEN (NEW.finished_at IS NOT NULL)
        EXECUTE FUNCTION soak_end();
    CREATE TRIGGER soak_batch_updated AFTER UPDATE ON batches FOR EACH ROW
        WHEN (OLD.completed_at IS NULL AND NEW.completed_at IS NOT NULL)
        EXECUTE FUNCTION soak_end();
"""


@dataclass(frozen=True, slots=True)
class Audit:
    """What became of what was dropped.

    Attributes:
        batches: Dropped.
        recordings: Dropped in them.
        done: Recordings that ended transcribed, or silent, as planned.
        rejected: That ended rejected, as planned.
        lost: Recordings, or their objects, that are not there, or ended otherwise than planned.
        duplicated: Rows and objects that nobody dropped, and recordings that ended twice.
        completed_twice: Batches.
        never_completed: Batches.
        stuck: Batches and recordings that do not go on by themselves.
    """

    batches: int
    recordings: int
    done: int
    rejected: int
    lost: Sequence[str]
    duplicated: Sequence[str]
    completed_twice: Sequence[str]
    never_completed: Sequence[str]
    stuck: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Rows:
    batches: Mapping[str, dict[str, Any]]
    recordings: Mapping[str, Sequence[dict[str, Any]]]
    ends: Counter[str]


def bear_witness(url: str) -> None:
    """Have the database note each end, from now on."""
    with psycopg.connect(url) as connection:
        connection.execute(_WITNESS)


def audit(
    store: Store, url: str, plans: Mapping[BatchId, Plan], known: Collection[BatchId]
) -> Audit:
    """Compare bucket and rows with what was dropped.

    Args:
        store: The bucket.
        url: The database's, by which anything can be read.
        plans: What was dropped.
        known: What was dropped besides, and is not looked at.
    """
    others = {str(batch) for batch in known if batch not in plans}
    rows = _read_rows(url, others)
    expected = {key for batch, plan in plans.items() for key in _keys(batch, plan, rows)}
    present = {key for key in store.keys(PROCESSED) if str(batch_of(key)) not in others}
    ended = Counter(
        state if state in {"transcribed", "silent"} else "rejected"
        for batch, plan in plans.items()
        for path, state in plan.states.items()
        if _states(rows, batch).get(path) == [state]
    )
    return Audit(
        batches=len(plans),
        recordings=sum(len(plan.states) for plan in plans.values()),
        done=ended["transcribed"] + ended["silent"],
        rejected=ended["rejected"],
        lost=[*_lost(rows, plans), *sorted(expected - present)],
        duplicated=[*_duplicated(rows, plans), *sorted(present - expected)],
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
    for row in rows.recordings.get(str(batch), ()):
        if plan.states.get(row["path"]) in {"transcribed", "silent"}:
            audio = AudioId(batch, row["ordinal"])
            yield audio.opus_key
            yield audio.transcript_key


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
    if row is None or row["announced_at"] is None:
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
