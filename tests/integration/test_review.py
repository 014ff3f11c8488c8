"""From a complete batch to what people decided, on the embedded servers."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs

from consumers.database.batches import BatchRepository
from consumers.database.pool import open_pool
from consumers.database.review_items import ReviewItemRepository
from consumers.database.review_queue import (
    HeldError,
    ItemFilter,
    NoItemError,
    ReviewQueueRepository,
)
from consumers.documents.review.decision import Decision
from consumers.documents.review.item import ReviewItem
from consumers.documents.review.item_list import read_items
from consumers.errors import BusyError, PermanentError, TransientError
from consumers.stages.review_decision import Desk
from consumers.store import Store
from events.keys import AudioId, BatchId, ClipKey, parse_key
from ops.wiring.adapters import open_reviewing
from ops.wiring.environment import Environment
from tests.harness.samples import reviews
from tests.harness.samples.sounds import decoded
from tests.integration.conftest import Run, printed
from tests.integration.reviewing import (
    BAD,
    BATCH,
    GOOD,
    MUMBLED,
    OPUS,
    Crash,
    ReviewBatch,
    crash_after,
    damaged,
)
from tests.schemas import check_document

LEASE = timedelta(minutes=30)
ANY = ItemFilter()


@pytest.fixture
def batch(
    environment: Environment, store: Store, database: BatchRepository, scratch_root: Path
) -> ReviewBatch:
    return ReviewBatch(environment, store, database, scratch_root)


@pytest.fixture
def reviewing(environment: Environment) -> Iterator[ReviewQueueRepository]:
    with open_reviewing(environment) as reviewing:
        yield reviewing


@pytest.fixture
def itemising(environment: Environment) -> Iterator[ReviewItemRepository]:
    with open_pool(environment.get("DATABASE_URL") or "", size=1, name="items") as pool:
        yield ReviewItemRepository(pool)


@pytest.fixture
def desk(store: Store, reviewing: ReviewQueueRepository) -> Desk:
    return Desk(store, reviewing, lambda: datetime.now(UTC))


def stored(batch: ReviewBatch) -> list[ReviewItem]:
    return list(read_items(io.BytesIO(batch.store.read(batch.id.review_key))))


def clips(batch: ReviewBatch) -> list[str]:
    return [key for key in batch.store.keys("processed/") if key.endswith(".clip.ogg")]


def in_rows(reviewing: ReviewQueueRepository) -> list[ReviewItem]:
    return [each.item for each in reviewing.all()]


def decide(desk: Desk, item_id: str, answer: str, reviewer: str) -> Decision:
    return desk.decide(item_id, answer, reviewer=reviewer, note=None, words={})  # type: ignore[arg-type]


# Making the items


def test_a_complete_batch_becomes_items_with_clips_rows_and_messages(
    batch: ReviewBatch, reviewing: ReviewQueueRepository
) -> None:
    bad = batch.add(0, GOOD, BAD)
    mumbled = batch.add(1, MUMBLED, GOOD)
    batch.add(2, GOOD)
    assert batch.review(batch.complete()) == [None]

    flagged, doubtful = stored(batch)
    assert (flagged.audio, flagged.kind, flagged.policy) == (bad, "flagged", "hate")
    assert (flagged.start, flagged.end, flagged.text) == (5.0, 7.0, "they are all vermin")
    assert flagged.path == "calls/0.mp3"
    assert (doubtful.audio, doubtful.kind) == (mumbled, "doubtful")
    assert (doubtful.start, doubtful.end) == (1.0, 3.0)
    assert in_rows(reviewing) == [flagged, doubtful]
    told = [json.loads(body) for body in batch.announced()]
    assert {each["item_id"] for each in told} == {flagged.item_id, doubtful.item_id}
    assert {each["batch_id"] for each in told} == {str(BATCH)}
    row = batch.database.batch(BATCH)
    assert row is not None
    assert row.itemised_at is not None


def test_clips_play_and_start_where_they_should(batch: ReviewBatch) -> None:
    batch.add(0, GOOD, BAD)
    batch.review(batch.complete())
    (item,) = stored(batch)
    assert clips(batch) == [item.clip_key]
    assert parse_key(item.clip_key) == ClipKey(item.audio, 2_000, 10_000)
    assert item.clip_start == 2.0
    assert len(decoded(batch.store.read(item.clip_key))) / 16_000 == pytest.approx(8.0, abs=0.02)


def test_a_sample_of_unflagged_recordings_is_reviewed_too(batch: ReviewBatch) -> None:
    batch.add(0, GOOD, GOOD)
    batch.add(1, GOOD, BAD)
    batch.review(batch.complete(), sample=1.0)
    assert [(item.audio.ordinal, item.kind) for item in stored(batch)] == [
        (0, "sample"),
        (1, "flagged"),
    ]


def test_a_batch_without_findings_is_done_all_the_same(batch: ReviewBatch) -> None:
    batch.add(0, GOOD)
    assert batch.review(batch.complete()) == [None]
    assert stored(batch) == []
    assert batch.announced() == []


def test_pages_of_recordings_are_all_looked_at(
    batch: ReviewBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ordinal in range(5):
        batch.add(ordinal, BAD)
    monkeypatch.setattr("consumers.database.review_items._PAGE", 2)
    # No more than one fits.
    monkeypatch.setattr("consumers.database.review_items._PAGE_BYTES", 1)
    batch.review(batch.complete())
    assert [item.audio.ordinal for item in stored(batch)] == [0, 1, 2, 3, 4]


def test_a_finished_review_is_not_repeated(batch: ReviewBatch) -> None:
    batch.add(0, BAD)
    event = batch.complete()
    batch.review(event)
    batch.announced()
    steps: list[str] = []
    assert batch.review(event, event, step=steps.append) == [None, None]
    assert steps == []
    assert batch.announced() == []


def test_a_list_that_was_lost_is_written_again(batch: ReviewBatch) -> None:
    batch.add(0, BAD)
    batch.review(batch.complete())
    before = stored(batch)
    batch.store.delete(batch.id.review_key)
    assert batch.review(batch.event) == [None]
    assert stored(batch) == before


def test_a_crash_between_any_two_steps_leaves_the_same_items_once(
    batch: ReviewBatch, reviewing: ReviewQueueRepository
) -> None:
    batch.add(0, BAD, MUMBLED)
    batch.add(1, GOOD, BAD)
    event = batch.complete()
    crashes = 0
    while True:
        crashes += 1
        try:
            # One step further each time, from where the one before left it.
            outcome = batch.review(event, step=crash_after(crashes))
        except Crash:
            continue
        break
    assert outcome == [None]
    # Three clips, once each, and then what is done again by each that dies.
    assert crashes > 7
    items = stored(batch)
    assert len({item.item_id for item in items}) == len(items) == 3
    assert in_rows(reviewing) == sorted(items, key=lambda each: (each.audio, each.start))
    assert set(clips(batch)) == {item.clip_key for item in items}
    assert {json.loads(body)["item_id"] for body in batch.announced()} == {
        item.item_id for item in items
    }


def test_one_damaged_recording_does_not_cost_the_others_their_items(
    batch: ReviewBatch, reviewing: ReviewQueueRepository
) -> None:
    batch.add(0, BAD)
    broken = batch.add(1, BAD)
    gone = batch.add(2, BAD)
    batch.add(3, BAD)
    batch.store.write(broken.opus_key, damaged(OPUS), content_type="audio/ogg")
    batch.store.delete(gone.opus_key)
    event = batch.complete()
    (outcome,) = batch.review(event)
    assert isinstance(outcome, TransientError)
    assert f"{broken.opus_key} is damaged in the store" in str(outcome)
    assert [item.audio.ordinal for item in in_rows(reviewing)] == [0, 3]
    assert len(batch.announced()) == 2
    assert batch.store.head(batch.id.review_key) is None

    for audio in (broken, gone):
        batch.store.write(audio.opus_key, OPUS, content_type="audio/ogg")
    assert batch.review(event) == [None]
    assert [item.audio.ordinal for item in stored(batch)] == [0, 1, 2, 3]
    assert in_rows(reviewing) == stored(batch)


def test_a_batch_that_is_done_again_waits_for_its_new_completion(
    batch: ReviewBatch, database: BatchRepository
) -> None:
    batch.add(0, BAD)
    batch.store.write(batch.id.complete_key, b"{}", content_type="application/json")
    (outcome,) = batch.review(batch.event)
    assert isinstance(outcome, TransientError)
    assert "does not list batch" in str(outcome)
    assert batch.store.head(batch.id.review_key) is None


def test_missing_busy_and_incomplete_batches_have_errors_of_their_own(batch: ReviewBatch) -> None:
    batch.add(0, BAD)
    # Old enough to be deleted, not on its way.
    assert batch.review(batch.event) == [None]
    event = batch.complete()
    with batch.database.locks() as locks:
        assert locks.acquire(f"review {BATCH}")
        (busy,) = batch.review(event)
    assert isinstance(busy, BusyError)
    (wrong,) = batch.review(replace(event, key=BATCH.manifest_key))
    assert isinstance(wrong, PermanentError)


def test_why_items_are_not_made_is_on_the_batchs_row_until_they_are(batch: ReviewBatch) -> None:
    batch.add(0, BAD)
    event = batch.complete()
    batch.give_up("the store is away")
    row = batch.database.batch(BATCH)
    assert row is not None
    assert row.stalled == "the store is away"
    batch.review(event)
    row = batch.database.batch(BATCH)
    assert row is not None
    assert row.stalled is None


# Rounds


def test_undecided_items_that_are_found_no_more_leave_the_queue(
    itemising: ReviewItemRepository, reviewing: ReviewQueueRepository, desk: Desk
) -> None:
    decided, old, kept = (reviews.item(start, start + 1) for start in (1.0, 2.0, 3.0))
    itemising.put_items([decided, old, kept])
    decide(desk, decided.item_id, "uphold", "Ada")
    itemising.supersede(BATCH, [kept.item_id])
    assert in_rows(reviewing) == [decided, kept]
    assert reviewing.item(old.item_id).is_superseded
    assert reviewing.claim("Bob", LEASE, ANY) == reviewing.item(kept.item_id)
    # Found once more.
    itemising.put_items([old])
    assert not reviewing.item(old.item_id).is_superseded


def test_a_decided_item_keeps_what_the_reviewer_saw(
    itemising: ReviewItemRepository, reviewing: ReviewQueueRepository, desk: Desk
) -> None:
    seen, free = reviews.item(1.0, path="as seen"), reviews.item(2.0, path="before")
    itemising.put_items([seen, free])
    decide(desk, seen.item_id, "uphold", "Ada")
    itemising.put_items([reviews.item(1.0, path="other"), reviews.item(2.0, path="after")])
    assert [item.path for item in in_rows(reviewing)] == ["as seen", "after"]


# Claims


def test_items_come_flagged_first_by_score_and_then_the_oldest_batchs(
    batch: ReviewBatch, itemising: ReviewItemRepository, reviewing: ReviewQueueRepository
) -> None:
    later = AudioId(BatchId("20250623-143052-a1b2c3"), 0)
    sure, unsure = reviews.item(1.0), structs.replace(reviews.item(2.0), score=0.51)
    items = [
        reviews.item(3.0, kind="sample"),
        reviews.item(4.0, kind="doubtful", audio=later),
        unsure,
        reviews.item(5.0, kind="doubtful"),
        sure,
    ]
    itemising.put_items(items)
    taken = [reviewing.claim(name, LEASE, ANY) for name in "ABCDE"]
    assert [each.item if each else None for each in taken] == [
        sure,
        unsure,
        items[3],
        items[1],
        items[0],
    ]
    assert reviewing.claim("F", LEASE, ANY) is None


def together(
    environment: Environment, names: str, work: Callable[[ReviewQueueRepository, str], list[str]]
) -> dict[str, list[str]]:
    """Run reviewers at the same time, each on a connection of its own."""
    with ExitStack() as stack, ThreadPoolExecutor(len(names)) as executor:
        desks = {name: stack.enter_context(open_reviewing(environment)) for name in names}
        start = threading.Barrier(len(names))

        def begin(name: str) -> list[str]:
            start.wait()
            return work(desks[name], name)

        futures = {name: executor.submit(begin, name) for name in names}
        return {name: future.result() for name, future in futures.items()}


def test_two_reviewers_never_hold_one_item(
    environment: Environment, itemising: ReviewItemRepository
) -> None:
    itemising.put_items([reviews.item(start / 10) for start in range(400)])

    def claim_all(reviewing: ReviewQueueRepository, name: str) -> list[str]:
        taken: list[str] = []
        while (claimed := reviewing.claim(f"{name}{len(taken)}", LEASE, ANY)) is not None:
            taken.append(claimed.item.item_id)
        return taken

    taken = together(environment, "ABCD", claim_all)
    counts = Counter(item_id for each in taken.values() for item_id in each)
    assert len(counts) == 400
    assert set(counts.values()) == {1}
    # They were at it at the same time.
    assert all(taken.values())


def test_a_decided_item_is_given_to_nobody_else(
    environment: Environment, itemising: ReviewItemRepository, store: Store
) -> None:
    itemising.put_items([reviews.item(start / 10) for start in range(200)])

    def decide_all(reviewing: ReviewQueueRepository, name: str) -> list[str]:
        done: list[str] = []
        while (claimed := reviewing.claim(name, LEASE, ANY)) is not None:
            now = datetime.now(UTC)
            decision = Decision.new(
                claimed.item, "uphold", reviewer=name, now=now, token=name.encode() * 3
            )
            reviewing.hold(claimed.item.item_id, name)
            reviewing.put_decision(decision)
            done.append(claimed.item.item_id)
        return done

    done = together(environment, "ABCD", decide_all)
    counts = Counter(item_id for each in done.values() for item_id in each)
    assert len(counts) == 200
    assert set(counts.values()) == {1}


def test_one_of_two_simultaneous_decisions_counts(
    environment: Environment, itemising: ReviewItemRepository
) -> None:
    items = [reviews.item(start / 10) for start in range(100)]
    itemising.put_items(items)

    def hold_all(reviewing: ReviewQueueRepository, name: str) -> list[str]:
        held = []
        for item in items:
            try:
                reviewing.hold(item.item_id, name)
            except HeldError:
                continue
            held.append(item.item_id)
        return held

    held = together(environment, "ABCD", hold_all)
    assert Counter(each for ids in held.values() for each in ids) == Counter(
        item.item_id for item in items
    )


def test_a_lease_runs_out_and_ones_own_is_renewed(
    itemising: ReviewItemRepository, reviewing: ReviewQueueRepository
) -> None:
    item = reviews.item()
    itemising.put_items([item])
    short = timedelta(seconds=0.5)
    first = reviewing.claim("Ada", short, ANY)
    assert first is not None
    assert reviewing.claim("Bob", LEASE, ANY) is None
    again = reviewing.claim("Ada", short, ANY)
    assert again is not None
    assert again.item == item
    assert again.claimed_until is not None
    assert first.claimed_until is not None
    assert again.claimed_until > first.claimed_until
    time.sleep(0.6)
    assert reviewing.item(item.item_id).state == "open"
    taken = reviewing.claim("Bob", LEASE, ANY)
    assert taken is not None
    assert taken.claimed_by == "Bob"
    with pytest.raises(HeldError, match="claimed by Bob"):
        reviewing.hold(item.item_id, "Ada")


def test_a_second_opinion_is_asked_of_another_person_once(
    itemising: ReviewItemRepository, reviewing: ReviewQueueRepository, desk: Desk
) -> None:
    one, two = reviews.item(1.0), reviews.item(2.0)
    itemising.put_items([one, two])
    assert reviewing.claim("Bob", LEASE, ANY, second=True) is None
    decide(desk, one.item_id, "uphold", "Ada")
    assert reviewing.claim("Ada", LEASE, ANY, second=True) is None
    claimed = reviewing.claim("Bob", LEASE, ANY, second=True)
    assert claimed is not None
    assert claimed.item == one
    # One who decides about something else meanwhile has both in hand.
    first = reviewing.claim("Bob", LEASE, ANY)
    assert first is not None
    assert first.item == two
    decide(desk, one.item_id, "reject", "Bob")
    assert reviewing.item(one.item_id).state == "disputed"
    assert reviewing.claim("Cleo", LEASE, ANY, second=True) is None


def test_review_items_can_be_filtered(
    itemising: ReviewItemRepository, reviewing: ReviewQueueRepository
) -> None:
    hate, sexual = reviews.item(1.0), reviews.item(1.0, policy="sexual")
    sample = reviews.item(1.0, kind="sample")
    itemising.put_items([hate, sexual, sample])
    for reviewer, chosen, item in [
        ("Ada", ItemFilter(policy="sexual"), sexual),
        ("Bob", ItemFilter(kind="sample"), sample),
        ("Cleo", ItemFilter(batch=BATCH, kind="flagged"), hate),
    ]:
        claimed = reviewing.claim(reviewer, LEASE, chosen)
        assert claimed is not None
        assert claimed.item == item
    other = BatchId("20250623-143052-a1b2c3")
    assert reviewing.claim("Ada", LEASE, ItemFilter(batch=other)) is None


# Decisions


def test_decisions_are_objects_and_rows_and_nothing_is_overwritten(
    itemising: ReviewItemRepository,
    reviewing: ReviewQueueRepository,
    desk: Desk,
    store: Store,
) -> None:
    item = reviews.item()
    itemising.put_items([item])
    made = [
        decide(desk, item.item_id, answer, name)
        for name, answer in [("Ada", "uphold"), ("Ada", "reject"), ("Bob", "unsure")]
    ]
    found = reviewing.item(item.item_id)
    assert found.decisions == tuple(made)
    assert found.latest == {"Ada": "reject", "Bob": "unsure"}
    assert (found.state, found.claimed_by) == ("decided", None)
    keys = sorted(key for key in store.keys("processed/") if key.endswith(".decision.json"))
    assert keys == sorted(decision.key for decision in made)
    assert [Decision.from_json(store.read(decision.key)) for decision in made] == made
    for decision in made:
        check_document(decision.key, store.read(decision.key))


def test_rows_come_back_from_the_objects(
    itemising: ReviewItemRepository, reviewing: ReviewQueueRepository, store: Store
) -> None:
    """A database that was lost: the item is in the decision."""
    item = reviews.item()
    decision = Decision.new(
        item,
        "uphold",
        reviewer="Ada",
        now=datetime.now(UTC),
        token=b"abc",
        note="a\nnote",
        words={1: "some"},
    )
    store.write(decision.key, decision.to_json(), content_type="application/json")
    read = Decision.from_json(store.read(decision.key))
    for _ in range(2):
        itemising.put_items([read.item])
        reviewing.put_decision(read)
    assert reviewing.item(item.item_id).decisions == (decision,)


def test_a_missing_or_foreign_item_cannot_be_decided(
    itemising: ReviewItemRepository, reviewing: ReviewQueueRepository, desk: Desk, store: Store
) -> None:
    item = reviews.item()
    itemising.put_items([item])
    reviewing.claim("Bob", LEASE, ANY)
    with pytest.raises(HeldError):
        decide(desk, item.item_id, "uphold", "Ada")
    with pytest.raises(NoItemError):
        decide(desk, "20250622-143052-a1b2c3-0000009-00000000", "uphold", "Ada")
    assert list(store.keys("processed/")) == []


# Rights


def as_role(environment: Environment, role: str) -> Environment:
    """Connect to the database with no more rights than a role has."""
    url = environment.get("DATABASE_URL") or ""
    return Environment({"DATABASE_URL": f"{url}&options=-c%20role%3D{role}"})


def test_a_reviewer_can_review_and_change_nothing_else(
    environment: Environment, itemising: ReviewItemRepository, store: Store
) -> None:
    item = reviews.item()
    itemising.put_items([item])
    with open_reviewing(as_role(environment, "dropscribe_reviewer")) as reviewing:
        claimed = reviewing.claim("Ada", LEASE, ANY)
        assert claimed is not None
        desk = Desk(store, reviewing, lambda: datetime.now(UTC))
        decision = decide(desk, item.item_id, "uphold", "Ada")
        assert [each.decisions for each in reviewing.all()] == [(decision,)]
        with pytest.raises(PermanentError, match="permission denied"):
            ReviewItemRepository(reviewing._pool).put_items([item])


def test_the_consumer_can_make_items_and_decide_nothing(
    environment: Environment, batch: ReviewBatch
) -> None:
    batch.add(0, BAD)
    event = batch.complete()
    limited = as_role(environment, "dropscribe_review")
    batch.url = limited.get("DATABASE_URL") or ""
    batch.give_up("the store is away")
    assert batch.review(event) == [None]
    with open_reviewing(limited) as reviewing:
        desk = Desk(batch.store, reviewing, lambda: datetime.now(UTC))
        with pytest.raises(PermanentError, match="permission denied"):
            decide(desk, stored(batch)[0].item_id, "uphold", "nobody")


# Commands


def test_a_reviewers_day(run: Run, batch: ReviewBatch, tmp_path: Path) -> None:
    batch.add(0, GOOD, BAD)
    batch.add(1, MUMBLED)
    batch.review(batch.complete())
    clip = tmp_path / "passage.ogg"

    shown = run("review", "next", "--clip", str(clip), REVIEWER="Ada L.")
    assert shown.exit_code == 0, shown.output
    assert "1:they 2:are 3:all 4:vermin" in shown.stdout
    assert "policy hate scores this passage 0.93 (threshold 0.50)" in shown.stdout
    assert "0:00:05.0 to 0:00:07.0" in shown.stdout
    assert len(decoded(clip.read_bytes())) / 16_000 == pytest.approx(8.0, abs=0.02)

    (item,) = printed(run("review", "list", "--state", "claimed", "--json"))["items"]
    assert item["claimed_by"] == "Ada L."
    item_id = item["item_id"]
    refused = run("review", "decide", item_id, "reject", "--as", "Bob")
    assert refused.exit_code == 1
    assert "is claimed by Ada L." in refused.stderr

    arguments = ("--as", "Ada L.", "--note", "in earnest", "--word", "4=worms", "--word", "1=")
    made = printed(run("review", "decide", item_id, "uphold", *arguments, "--json"))
    assert batch.store.head(made["key"]) is not None
    assert made["corrections"] == [
        {"word": 1, "was": "they", "is": ""},
        {"word": 4, "was": "vermin", "is": "worms"},
    ]
    whole = run("review", "show", item_id).stdout
    assert "uphold by Ada L." in whole
    assert ": in earnest; word 1: they -> ; word 4: vermin -> worms" in whole

    second = run("review", "next", "--second", "--as", "Bob")
    assert item_id in second.stdout
    assert "in earnest" not in second.stdout
    assert "uphold by" not in second.stdout
    assert run("review", "decide", item_id, "reject", "--as", "Bob").exit_code == 0
    (row,) = printed(run("review", "list", "--state", "disputed", "--json"))["items"]
    assert row["item_id"] == item_id
    listed = run("review", "list").stdout.splitlines()
    assert listed[0] == f"{item_id}  flagged      0:05  disputed"
    assert listed[1] == "    hate 0.93  calls/0.mp3  they are all vermin"
    assert listed[2].endswith("  doubtful     0:01  open")


def test_next_says_when_nothing_is_left(run: Run, batch: ReviewBatch) -> None:
    result = run("review", "next", "--as", "Ada")
    assert (result.exit_code, result.stdout) == (1, "nothing to review\n")
    result = run("review", "next", "--as", "Ada", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"item": None})


def test_export_is_csv_or_json_lines(
    run: Run, batch: ReviewBatch, desk: Desk, tmp_path: Path
) -> None:
    batch.add(0, BAD)
    batch.add(1, MUMBLED)
    batch.review(batch.complete())
    (flagged, doubtful) = stored(batch)
    desk.decide(flagged.item_id, "uphold", reviewer="Ada", note="=1+1", words={4: "x"})
    out = tmp_path / "decisions.csv"
    assert run("review", "export", "--out", str(out)).exit_code == 0
    with out.open(encoding="utf-8", newline="") as file:
        one, two = csv.DictReader(file)
    assert (one["item_id"], one["note"]) == (flagged.item_id, "'=1+1")
    assert one["corrected_text"] == "they are all x"
    assert (two["item_id"], two["decision"], two["state"]) == (doubtful.item_id, "", "open")
    lines = run("review", "export", "--format", "jsonl", "--batch", str(BATCH)).stdout
    first, second = map(json.loads, lines.splitlines())
    assert first["decisions"][0]["note"] == "=1+1"
    assert second["decisions"] == []
    other = run("review", "export", "--batch", "20250623-143052-a1b2c3")
    assert len(other.stdout.splitlines()) == 1
    refused = run("review", "export", "--out", str(tmp_path / "no" / "file.csv"))
    assert refused.exit_code == 1
    assert "No such file or directory" in refused.stderr


def test_figures_come_from_decisions(run: Run, itemising: ReviewItemRepository, desk: Desk) -> None:
    items = [reviews.item(float(start)) for start in range(4)]
    items += [reviews.item(float(start), start + 1, kind="sample") for start in range(5, 7)]
    itemising.put_items(items)
    for item, answer in zip(items, ("uphold", "uphold", "reject"), strict=False):
        decide(desk, item.item_id, answer, "Ada")
    for item, answer in zip(items, ("uphold", "reject"), strict=False):
        decide(desk, item.item_id, answer, "Bob")
    decide(desk, items[4].item_id, "reject", "Ada")
    found = printed(run("review", "figures", "--json"))
    assert (found["items"], found["undecided"]) == (6, 2)
    flagged, sample = found["outcomes"]
    assert (flagged["upheld"], flagged["rejected"], flagged["disputed"]) == (1, 1, 1)
    assert flagged["right"]["value"] == 0.5
    assert sample["wrong"]["value"] == 1.0
    (agreement,) = found["agreements"]
    assert (agreement["reviewers"], agreement["share"]) == (["Ada", "Bob"], 0.5)
    shown = run("review", "figures").stdout
    assert "precision: 50.0% of 2 (95 % confidence: 9.5% to 90.5%)" in shown
    assert "missed:    100.0% of 1" in shown
    assert "Ada and Bob agree on 1 of 2 items (50%); Cohen's kappa: 0.00" in shown


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("next",), "Missing option '--as'"),
        (("next", "--as", " "), "printable characters"),
        (("next", "--as", "A\x1b[2J"), "printable characters"),
        (("next", "--as", "A", "--lease", "soon"), "is not a duration"),
        (("decide", "x", "perhaps", "--as", "A"), "'perhaps' is not one of"),
        (("decide", "x", "uphold", "--as", "A", "--word", "three=x"), "NUMBER=RIGHT"),
        (("decide", "x", "uphold", "--as", "A", "--word", "1=x", "--word", "1=y"), "twice"),
        (("decide", "x", "uphold", "--as", "A", "--note", "\udcff"), "bytes that are invalid"),
    ],
)
def test_wrong_use_is_explained(run: Run, arguments: tuple[str, ...], complaint: str) -> None:
    result = run("review", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_an_item_that_is_not_there_is_said(run: Run, environment: Environment) -> None:
    for arguments in (("show", "x"), ("decide", "x", "uphold", "--as", "A")):
        result = run("review", *arguments)
        assert result.exit_code == 1
        assert "there is no review item x" in result.stderr
