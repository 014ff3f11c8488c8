"""Audit of bucket, rows, review items and messages against the dropped archives."""

from __future__ import annotations

import io
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
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
class Audit:
    """The results of the dropped archives.

    Attributes:
        recordings: Dropped in the batches.
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
    done: int = 0
    rejected: int = 0
    judged: int = 0
    flagged: int = 0
    items: int = 0
    lost: list[str] = field(default_factory=list)
    misjudged: list[str] = field(default_factory=list)
    unreviewed: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    completed_twice: list[str] = field(default_factory=list)
    never_completed: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    @property
    def faults(self) -> Mapping[str, Sequence[str]]:
        """What is not as it has to be, by kind; empty if all is well."""
        lists = {name: value for name, value in asdict(self).items() if isinstance(value, list)}
        return {name: found for name, found in lists.items() if found}


def audit(
    store: Store,
    url: str,
    plans: Mapping[BatchId, Plan],
    known: Collection[BatchId],
    announced: Mapping[str, _Row],
) -> Audit:
    """Compare bucket and rows with the dropped archives.

    Every recording with words is to be judged, and ends with one item: as it is
    flagged, or as one of the sample, which is all others.

    Args:
        url: The database's URL for its superuser.
        known: What was dropped besides, and is not looked at.
        announced: Messages of the review queue, by the items' ids.
    """
    others = {str(batch) for batch in known if batch not in plans}
    auditor = _Auditor(store, _Rows(url, others), plans, announced)
    for batch, plan in plans.items():
        auditor.check_batch(batch, plan)
    auditor.check_strangers(
        {key for key in store.keys(PROCESSED) if str(batch_of(key)) not in others}
    )
    return auditor.audit


class _Rows:
    """Rows by their batch, and how often each batch and recording ended; others are left out."""

    def __init__(self, url: str, others: Collection[str]) -> None:
        left_out = [list(others)]
        with psycopg.connect(url, row_factory=dict_row) as connection:

            def read(table: str) -> Mapping[str, Sequence[_Row]]:
                query = sql.SQL("SELECT * FROM {} WHERE batch_id <> ALL(%s)")
                rows = defaultdict(list)
                for row in connection.execute(query.format(sql.Identifier(table)), left_out):
                    rows[row["batch_id"]].append(row)
                return rows

            self.batches = {batch: row for batch, (row,) in read("batches").items()}
            self.recordings = read("recordings")
            self.verdicts = read("verdicts")
            self.items = read("review_items")
            ends = connection.execute(
                "SELECT what FROM soak_ends WHERE left(what, 22) <> ALL(%s)", left_out
            )
            self.ends = Counter(row["what"] for row in ends)


class _Auditor:
    def __init__(
        self,
        store: Store,
        rows: _Rows,
        plans: Mapping[BatchId, Plan],
        announced: Mapping[str, _Row],
    ) -> None:
        self._store = store
        self._rows = rows
        self._announced = announced
        self._expected: set[str] = set()
        self._dropped = {str(batch) for batch in plans}
        self.audit = Audit(len(plans), sum(len(plan.states) for plan in plans.values()))

    def check_batch(self, batch: BatchId, plan: Plan) -> None:
        rows = self._rows.recordings.get(str(batch), ())
        self._check_states(batch, plan, rows)
        self._check_end(batch, plan)
        self._expect_objects(batch, plan, rows)
        judged = {
            AudioId(batch, row["ordinal"]): row
            for row in rows
            if plan.states.get(row["path"]) == "moderated"
        }
        self._check_verdicts(batch, plan, judged)
        self._check_items(batch, plan, judged)

    def check_strangers(self, present: set[str]) -> None:
        """Find what is of no dropped archive, what ended twice, and what is stuck."""
        self.audit.lost += sorted(self._expected - present)
        self.audit.duplicated += sorted(present - self._expected)
        for stranger in self._rows.batches.keys() - self._dropped:
            self.audit.duplicated.append(f"{stranger}: nobody dropped it")
        for what, times in self._rows.ends.items():
            if times > 1 and what not in self._dropped:
                self.audit.duplicated.append(f"{what}: ended {times} times")
        recordings = (row for rows in self._rows.recordings.values() for row in rows)
        for row in (*self._rows.batches.values(), *recordings):
            if row["stalled"] is not None:
                name = f"{row['batch_id']} {row.get('ordinal', '')}"
                self.audit.stuck.append(f"{name}: {row['stalled']}")

    def _check_states(self, batch: BatchId, plan: Plan, rows: Sequence[_Row]) -> None:
        """Compare the states of a batch's rows by path: one each, if all is well."""
        states = defaultdict(list)
        for row in rows:
            states[row["path"]].append(row["state"])
        for path, state in plan.states.items():
            found = states.get(path, [])
            if found == [state]:
                is_done = state in {"moderated", "silent"}
                self.audit.done += is_done
                self.audit.rejected += not is_done
            elif state not in found:
                self.audit.lost.append(f"{batch}: {path} is {found or 'not there'}, not {state}")
        for path, found in states.items():
            if path not in plan.states or len(found) > 1:
                self.audit.duplicated.append(f"{batch}: {path} is there as {found}")

    def _check_end(self, batch: BatchId, plan: Plan) -> None:
        if self._rows.ends[str(batch)] > 1:
            self.audit.completed_twice.append(str(batch))
        row = self._rows.batches.get(str(batch))
        if (
            row is None
            or None in (row["announced_at"], row["itemised_at"])
            or (row["failure"] is not None) != plan.is_cut
        ):
            self.audit.never_completed.append(str(batch))

    def _expect_objects(self, batch: BatchId, plan: Plan, rows: Sequence[_Row]) -> None:
        self._expected |= {batch.manifest_key, batch.complete_key, batch.review_key}
        for row in rows:
            audio, state = AudioId(batch, row["ordinal"]), plan.states.get(row["path"])
            if state in {"moderated", "silent"}:
                self._expected |= {audio.opus_key, audio.transcript_key}
            if state == "moderated":
                self._expected.add(audio.verdict_key)

    def _check_verdicts(self, batch: BatchId, plan: Plan, judged: Mapping[AudioId, _Row]) -> None:
        said = defaultdict(list)
        for row in self._rows.verdicts.get(str(batch), ()):
            said[AudioId(batch, row["ordinal"])].append((row["policy"], row["flagged"]))
        for audio in said.keys() - judged.keys():
            self.audit.duplicated.append(f"{audio}: judged, though nothing is said in it")
        for audio, row in judged.items():
            is_flagged = row["path"] in plan.flagged
            expected = [("length", is_flagged)]
            stored = self._stored_verdict(audio)
            if stored == said[audio] == expected and row["flagged"] == is_flagged:
                self.audit.judged += 1
                self.audit.flagged += is_flagged
            else:
                self.audit.misjudged.append(
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
            self.audit.unreviewed.append(f"{audio}: {times} x {kind} is not listed")
        for (audio, kind), times in (found - expected).items():
            self.audit.duplicated.append(f"{audio}: {times} x {kind} too much is listed")
        self._check_rows_of_items(batch, items)
        for item in items:
            self._expected.add(item.clip_key)
            faults = list(self._faults(item, judged.get(item.audio)))
            self.audit.unreviewed.extend(f"{item.item_id}: {fault}" for fault in faults)
            self.audit.items += not faults

    def _listed(self, batch: BatchId) -> list[ReviewItem]:
        try:
            return list(read_items(io.BytesIO(self._store.read(batch.review_key))))
        except (ObjectGoneError, PermanentError) as exc:
            self.audit.unreviewed.append(f"{batch}: {exc}")
            return []

    def _check_rows_of_items(self, batch: BatchId, items: Sequence[ReviewItem]) -> None:
        listed = {item.item_id for item in items}
        rows = self._rows.items.get(str(batch), ())
        on_record = {row["item_id"] for row in rows if row["superseded_at"] is None}
        for name in listed - on_record:
            self.audit.unreviewed.append(f"{name}: not on record")
        for name in {row["item_id"] for row in rows} - listed:
            self.audit.duplicated.append(f"{name}: on record, and not listed")

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


def _seconds(clip: bytes) -> float:
    """Decode a clip, and measure its duration."""
    with av.open(io.BytesIO(clip), "r", format="ogg") as container:
        frames = container.decode(container.streams.audio[0])
        return math.fsum(frame.samples / frame.sample_rate for frame in frames)
