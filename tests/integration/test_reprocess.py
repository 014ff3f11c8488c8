"""A batch is done again, from its recordings or from its archive, and completes once more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.database.rebuild import RebuildRepository
from consumers.documents.transcript import Transcript
from consumers.errors import BusyError, PermanentError
from consumers.stages.completion import Completion
from consumers.stages.stored_archive import COMPLETE, STATE_TAG
from consumers.store import Store
from events.keys import AudioId, BatchId
from ops.recovery.reprocess import Reprocessor
from ops.recovery.resend import Resender
from ops.recovery.sweep.report import Discrepancy, SweepReport
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_reprocessor
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline, Run, printed
from tests.integration.damage import (
    dropped,
    finished,
    found,
    reviewed_once_swept,
    rows,
    swept,
    transcribed,
    unpacked,
)
from tests.integration.moderated import POLICY, decide, reviewed, write_policies
from tests.integration.test_pipeline import event_for
from tests.samples import RECORDINGS


@pytest.fixture
def policies(variables: dict[str, str], tmp_path: Path) -> Path:
    """Set up, as long as it is asked for before the environment is."""
    root = write_policies(tmp_path / "policies")
    variables["POLICIES_ROOT"] = str(root)
    return root


@pytest.fixture
def reprocessor(pipeline: Pipeline) -> Iterator[Reprocessor]:
    with open_reprocessor(pipeline.environment, quiet_log()) as reprocessor:
        yield reprocessor


def etags(pipeline: Pipeline, prefix: str = "processed/") -> dict[str, str]:
    return {listed.key: listed.etag for page in pipeline.store.pages(prefix) for listed in page}


def announced(pipeline: Pipeline, batch: BatchId) -> str:
    completed_at: str = json.loads(pipeline.store.read(batch.complete_key))["completed_at"]
    return completed_at


def use_another_model(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pipeline.recogniser, "name", "another")


def model_of(pipeline: Pipeline, audio: AudioId) -> str | None:
    """Read by which model a recording was transcribed, in the bucket and on record."""
    stored = Transcript.from_json(pipeline.store.read(audio.transcript_key)).model
    (row,) = [
        row
        for row in rows(pipeline.database)["transcripts"]
        if (row["batch_id"], row["ordinal"]) == (str(audio.batch), audio.ordinal)
    ]
    assert row["model"] == stored
    return stored


def wait_for_another(pipeline: Pipeline, batch: BatchId, completed_at: str) -> None:
    """Wait until the batch has completed once more."""

    def look() -> bool:
        if pipeline.store.head(batch.complete_key) is None:
            return False
        row = pipeline.database.batch(batch)
        is_announced = row is not None and row.announced_at is not None
        return is_announced and announced(pipeline, batch) != completed_at

    eventually(look)


def test_every_recording_is_transcribed_again(
    run: Run,
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = finished(pipeline, tmp_path)
    before, objects, first = rows(pipeline.database), etags(pipeline), announced(pipeline, batch)
    answer = printed(run("reprocess", str(batch), "--json"))
    assert answer == {"batch_id": str(batch), "from": "transcribe", "recordings": 3}
    # The keys tell how far it is: it is unpacked, and no more.
    left = {AudioId(batch, ordinal).opus_key for ordinal in range(3)} | {batch.manifest_key}
    assert set(etags(pipeline)) == left
    assert pipeline.database.counts(batch) == {"converted": 3}
    use_another_model(pipeline, monkeypatch)
    pipeline.start()
    wait_for_another(pipeline, batch, first)
    reviewed_once_swept(pipeline, batch)
    assert {model_of(pipeline, AudioId(batch, n)) for n in range(3)} == {"another"}
    after = etags(pipeline)
    assert after.keys() == objects.keys()
    assert all(after[key] == objects[key] for key in left)
    assert rows(pipeline.database)["recordings"] == before["recordings"]


def test_only_some_are_transcribed_again(
    pipeline: Pipeline,
    reprocessor: Reprocessor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = finished(pipeline, tmp_path)
    first = announced(pipeline, batch)
    assert reprocessor.transcribe_again(batch, {AudioId(batch, 1)}) == 1
    assert pipeline.database.counts(batch) == {"converted": 1, "transcribed": 2}
    use_another_model(pipeline, monkeypatch)
    pipeline.start()
    wait_for_another(pipeline, batch, first)
    models = [model_of(pipeline, AudioId(batch, ordinal)) for ordinal in range(3)]
    assert models[1] == "another"
    assert models.count("another") == 1
    assert pipeline.recogniser.groups[-1] == 1


def test_a_batch_is_reprocessed_from_its_archive(
    run: Run,
    pipeline: Pipeline,
    tmp_path: Path,
) -> None:
    batch = finished(pipeline, tmp_path)
    before, objects, first = rows(pipeline.database), etags(pipeline), announced(pipeline, batch)
    assert pipeline.store.tags(batch.archive_key)[STATE_TAG] == COMPLETE
    answer = printed(run("reprocess", str(batch), "--from", "unpack", "--json"))
    assert answer["recordings"] is None
    assert etags(pipeline) == {}
    # The archive is needed again, so it may not expire.
    assert STATE_TAG not in pipeline.store.tags(batch.archive_key)
    row = pipeline.database.batch(batch)
    assert row is not None
    assert row.state == "unpacking"
    pipeline.start()
    eventually(lambda: pipeline.store.head(batch.manifest_key))
    assert found(swept(pipeline)).keys() <= {"recording-undone"}
    wait_for_another(pipeline, batch, first)
    reviewed_once_swept(pipeline, batch)
    assert etags(pipeline).keys() == objects.keys()
    assert pipeline.store.tags(batch.archive_key)[STATE_TAG] == COMPLETE
    after = rows(pipeline.database)
    assert [row["text"] for row in after["transcripts"]] == [
        row["text"] for row in before["transcripts"]
    ]


def test_a_note_of_before_does_not_stay(
    pipeline: Pipeline, reprocessor: Reprocessor, tmp_path: Path
) -> None:
    """A recording that crashes one model may suit the next."""
    batch = unpacked(pipeline, tmp_path)
    audio = AudioId(batch, 0)
    refused = Transcript(str(audio), "rejected", "too loud", 2.0, None, None, None, None, ())
    pipeline.store.write(audio.transcript_key, refused.to_json(), content_type="x")
    transcribed(pipeline, batch, range(3))
    assert pipeline.database.recordings(batch)[0].reason == "too loud"
    reprocessor.transcribe_again(batch)
    transcribed(pipeline, batch, range(3))
    recording = pipeline.database.recordings(batch)[0]
    assert (recording.state, recording.reason) == ("transcribed", None)


def test_without_the_archive_it_says_why(
    run: Run,
    pipeline: Pipeline,
    tmp_path: Path,
) -> None:
    batch = finished(pipeline, tmp_path)
    pipeline.store.delete(batch.archive_key)
    before, objects = rows(pipeline.database), etags(pipeline)
    result = run("reprocess", str(batch), "--from", "unpack")
    assert result.exit_code == 1
    assert "retention" in result.stderr
    assert (rows(pipeline.database), etags(pipeline)) == (before, objects)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("20250622-143052-a1b2c3",), "no batch"),
        (("{batch}", "--only", "{batch}-0000009"), "{batch}-0000009"),
        (("{batch}", "--only", "20250622-143052-a1b2c3-0000000"), "no such recordings"),
        (("{batch}", "--only", "{batch}-0000000", "--from", "unpack"), "cannot be combined"),
        (("{batch}", "--only", "everything"), "not an audio id"),
    ],
)
def test_missing_input_is_refused_before_any_work(
    run: Run,
    pipeline: Pipeline,
    tmp_path: Path,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    batch = finished(pipeline, tmp_path)
    before, objects = rows(pipeline.database), etags(pipeline)
    result = run("reprocess", *(argument.format(batch=batch) for argument in arguments))
    assert result.exit_code != 0
    assert words.format(batch=batch) in result.stderr
    assert (rows(pipeline.database), etags(pipeline)) == (before, objects)


def test_a_batch_that_is_not_unpacked_is_not_transcribed_again(
    pipeline: Pipeline, reprocessor: Reprocessor, tmp_path: Path
) -> None:
    batch = dropped(pipeline, tmp_path)
    swept(pipeline)
    with pytest.raises(PermanentError, match="not unpacked yet"):
        reprocessor.transcribe_again(batch)


def test_reprocess_waits_for_work_in_hand(
    pipeline: Pipeline, reprocessor: Reprocessor, tmp_path: Path
) -> None:
    batch = finished(pipeline, tmp_path)
    before, objects = rows(pipeline.database), etags(pipeline)
    reprocessor.patience = 0.0
    audio = AudioId(batch, 1)
    for work in ("transcribe", "moderate"):
        with pipeline.database.locks() as locks:
            assert locks.acquire(f"{work} {audio}")
            for start in ("transcribe", "moderate"):
                with pytest.raises(BusyError, match=rf"has {audio} in hand \({work}\)"):
                    do_again(reprocessor, batch, start)
    for work in ("unpack", "review"):
        with pipeline.database.locks() as locks:
            assert locks.acquire(f"{work} {batch}")
            for start in STARTS:
                with pytest.raises(BusyError, match=r"being unpacked, .* or made ready"):
                    do_again(reprocessor, batch, start)
    assert (rows(pipeline.database), etags(pipeline)) == (before, objects)
    assert reprocessor.transcribe_again(batch) == 3


def test_events_of_before_do_no_harm(
    pipeline: Pipeline,
    reprocessor: Reprocessor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Duplicates that come late find what any other event finds."""
    batch = finished(pipeline, tmp_path)
    use_another_model(pipeline, monkeypatch)
    reprocessor.transcribe_again(batch)
    late = [event_for(pipeline, AudioId(batch, ordinal).opus_key) for ordinal in (0, 0, 1)]
    for event in late:
        assert pipeline.transcribe().handle([event]) == [None]
    assert pipeline.unpack().handle([event_for(pipeline, batch.archive_key)]) == [None]
    assert pipeline.store.head(batch.complete_key) is None
    transcribed(pipeline, batch, range(3))
    assert {model_of(pipeline, AudioId(batch, n)) for n in range(3)} == {"another"}
    assert pipeline.store.head(batch.complete_key) is not None
    assert sum(pipeline.recogniser.groups) == 6


class _Crash(BaseException):
    """The process is gone."""


def _crash_at(patch: pytest.MonkeyPatch, owner: type, name: str, call: int) -> None:
    """Have the process die right before so many calls of a method are done."""
    method = getattr(owner, name)
    calls = iter(range(call))

    def dying(*arguments: object, **named: object) -> object:
        if next(calls, None) is None:
            raise _Crash
        return method(*arguments, **named)

    patch.setattr(owner, name, dying)


#: Which consumer is told of what a sweep finds.
TOLD = {
    Discrepancy.ARCHIVE_UNDONE: "unpack",
    Discrepancy.RECORDING_UNTOLD: "transcribe",
    Discrepancy.RECORDING_UNDONE: "transcribe",
    Discrepancy.TRANSCRIPT_UNRECORDED: "transcribe",
    Discrepancy.TRANSCRIPT_UNTOLD: "moderate",
    Discrepancy.VERDICT_UNRECORDED: "moderate",
    Discrepancy.BATCH_UNITEMISED: "review",
}
STARTS = ("unpack", "transcribe", "moderate")
CRASHES = [
    (RebuildRepository, "begin_again", 0),
    # Of what the batch is complete by, then of each recording its verdict and its transcript.
    (Store, "delete", 0),
    (Store, "delete", 1),
    (Store, "delete", 2),
    (Store, "delete", 5),
    (Resender, "recordings", 0),
    (Resender, "_send", 1),
]
UNPACK_CRASHES = [
    (RebuildRepository, "unseal", 0),
    (Store, "tag", 0),
    # The same, after the manifest; and the recording itself.
    (Store, "delete", 0),
    (Store, "delete", 1),
    (Store, "delete", 2),
    (Store, "delete", 4),
    (Store, "delete", 8),
    (RebuildRepository, "drop", 1),
    (Resender, "_send", 0),
]
MODERATE_CRASHES = [
    (RebuildRepository, "moderate_again", 0),
    (Store, "delete", 0),
    (Store, "delete", 1),
    (Store, "delete", 3),
    (Resender, "transcripts", 0),
    (Resender, "_send", 1),
    (Completion, "complete_if_done", 0),
]


@pytest.mark.parametrize(
    ("start", "owner", "name", "call", "remedy"),
    [
        *(("transcribe", *crash, "sweep") for crash in CRASHES),
        *(("unpack", *crash, "sweep") for crash in UNPACK_CRASHES),
        ("transcribe", Store, "delete", 5, "again"),
        ("unpack", Store, "delete", 2, "again"),
        ("unpack", Store, "delete", 8, "again"),
    ],
)
def test_wherever_it_dies_a_sweep_or_another_run_finishes(
    pipeline: Pipeline,
    reprocessor: Reprocessor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: str,
    owner: type,
    name: str,
    call: int,
    remedy: str,
) -> None:
    batch = finished(pipeline, tmp_path)
    keys = etags(pipeline).keys()
    with monkeypatch.context() as patch:
        _crash_at(patch, owner, name, call)
        with pytest.raises(_Crash):
            do_again(reprocessor, batch, start)
    if remedy == "again":
        do_again(reprocessor, batch, start)
    sweep_to_the_end(pipeline)
    assert etags(pipeline).keys() == keys
    row = pipeline.database.batch(batch)
    assert row is not None
    assert row.state == "complete"
    assert pipeline.database.counts(batch) == {"transcribed": len(RECORDINGS)}
    for ordinal in range(len(RECORDINGS)):
        model_of(pipeline, AudioId(batch, ordinal))
    assert tar_of(RECORDINGS) == pipeline.store.read(batch.archive_key)


@pytest.mark.usefixtures("policies")
@pytest.mark.parametrize(
    ("owner", "name", "call", "remedy"),
    [
        *((*crash, "sweep") for crash in MODERATE_CRASHES),
        (Store, "delete", 3, "again"),
    ],
)
def test_wherever_it_dies_before_all_is_judged_again_it_is_in_the_end(
    pipeline: Pipeline,
    reprocessor: Reprocessor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    call: int,
    remedy: str,
) -> None:
    batch = reviewed(pipeline, tmp_path)
    before, objects = rows(pipeline.database), etags(pipeline)
    with monkeypatch.context() as patch:
        _crash_at(patch, owner, name, call)
        with pytest.raises(_Crash):
            do_again(reprocessor, batch, "moderate")
    if remedy == "again":
        do_again(reprocessor, batch, "moderate")
    sweep_to_the_end(pipeline)
    assert etags(pipeline).keys() == objects.keys()
    # The same policy says the same, so the same is to be reviewed.
    after = rows(pipeline.database)
    for table in ("recordings", "verdicts", "review_items"):
        assert after[table] == before[table]
    row = pipeline.database.batch(batch)
    assert row is not None
    assert row.state == "complete"


@pytest.mark.usefixtures("policies")
@pytest.mark.parametrize("policy", ["Nothing may last 3", "Nothing may make a sound"])
@pytest.mark.parametrize("start", STARTS)
def test_decisions_stay_and_undecided_items_are_found_again(
    pipeline: Pipeline,
    reprocessor: Reprocessor,
    policies: Path,
    tmp_path: Path,
    start: str,
    policy: str,
) -> None:
    batch = reviewed(pipeline, tmp_path)
    decision = decide(pipeline, 0)
    before, stored = rows(pipeline.database), pipeline.store.head(decision.key)
    first, announced_at = etags(pipeline), announced(pipeline, batch)
    write_policies(policies, length=policy)

    do_again(reprocessor, batch, start)
    assert first.keys() - etags(pipeline).keys() >= {batch.review_key, batch.complete_key}
    assert pipeline.store.head(decision.key) == stored
    for table in ("review_items", "reviews"):
        assert rows(pipeline.database)[table] == before[table]

    sweep_to_the_end(pipeline)
    assert announced(pipeline, batch) != announced_at
    assert pipeline.store.head(decision.key) == stored
    after = rows(pipeline.database)
    assert after["reviews"] == before["reviews"]
    if policy == POLICY:
        assert after["review_items"] == before["review_items"]
        return
    items = {row["item_id"]: row for row in after["review_items"]}
    for row in before["review_items"]:
        now = items.pop(row["item_id"])
        assert (now["superseded_at"] is None) == (row["item_id"] == decision.item.item_id)
        assert {**now, "superseded_at": None} == row
    # Every recording that has words is flagged by now.
    assert [row["kind"] for row in items.values()] == ["flagged"] * 4
    assert not any(row["superseded_at"] for row in items.values())
    listed = json.loads(pipeline.store.read(batch.review_key))["items"]
    assert [each["item_id"] for each in listed] == list(items)


@pytest.mark.parametrize("only", [(), (1,)])
def test_an_unreadable_recording_keeps_its_transcript(
    pipeline: Pipeline, reprocessor: Reprocessor, tmp_path: Path, only: tuple[int, ...]
) -> None:
    batch = finished(pipeline, tmp_path)
    pipeline.store.delete(AudioId(batch, 1).opus_key)
    before, objects = rows(pipeline.database), etags(pipeline)
    with pytest.raises(PermanentError, match="nothing was changed"):
        reprocessor.transcribe_again(batch, [AudioId(batch, ordinal) for ordinal in only])
    assert (rows(pipeline.database), etags(pipeline)) == (before, objects)
    # Others can.
    assert reprocessor.transcribe_again(batch, [AudioId(batch, 2)]) == 1


def test_an_archive_does_not_expire_while_its_batch_is_done_again(
    pipeline: Pipeline, reprocessor: Reprocessor, tmp_path: Path
) -> None:
    batch = finished(pipeline, tmp_path)
    assert pipeline.store.tags(batch.archive_key)[STATE_TAG] == COMPLETE
    reprocessor.transcribe_again(batch)
    assert STATE_TAG not in pipeline.store.tags(batch.archive_key)
    transcribed(pipeline, batch, range(len(RECORDINGS)))
    assert pipeline.store.tags(batch.archive_key)[STATE_TAG] == COMPLETE


@pytest.mark.parametrize("start", STARTS)
def test_a_batch_that_is_rebuilt_meanwhile_is_left_alone(
    pipeline: Pipeline, reprocessor: Reprocessor, tmp_path: Path, start: str
) -> None:
    """Else the rows would be of one moment, and the bucket of another."""
    batch = finished(pipeline, tmp_path)
    before, objects = rows(pipeline.database), etags(pipeline)
    with pipeline.database.locks() as locks:
        assert locks.acquire(f"unpack {batch}")
        with pytest.raises(BusyError, match="rebuilt"):
            do_again(reprocessor, batch, start)
    assert (rows(pipeline.database), etags(pipeline)) == (before, objects)


def do_again(reprocessor: Reprocessor, batch: BatchId, start: str) -> None:
    if start == "unpack":
        reprocessor.unpack_again(batch)
    elif start == "transcribe":
        reprocessor.transcribe_again(batch)
    else:
        reprocessor.moderate_again(batch)


def sweep_to_the_end(pipeline: Pipeline) -> None:
    """Sweep, and do what is told, until nothing is found; no event comes by itself."""
    # Archive, recordings, transcripts, batch.
    for _ in range(4):
        do_what_is_told(pipeline, swept(pipeline))
    assert found(swept(pipeline)) == {}


def do_what_is_told(pipeline: Pipeline, report: SweepReport) -> None:
    """Handle the events that were sent, by this sweep or a short while before."""
    assert report.is_lossless, report.to_json()
    for kind, tally in report.tallies.items():
        for name in tally.names:
            assert kind in TOLD or kind is Discrepancy.WAITING, report.to_json()
            handle(pipeline, TOLD.get(kind) or waits_for(pipeline, name), name)


def waits_for(pipeline: Pipeline, name: str) -> str:
    """Say for which consumer something waits that was told of before."""
    if name.startswith("archives/"):
        return "unpack"
    audio = AudioId.parse(name)
    (recording,) = [
        each for each in pipeline.database.recordings(audio.batch) if each.audio == audio
    ]
    return "moderate" if recording.state == "transcribed" else "transcribe"


def handle(pipeline: Pipeline, route: str, name: str) -> None:
    """Handle the event of an archive's key, an audio id, or a batch's."""
    if route == "unpack":
        outcomes = pipeline.unpack().handle([event_for(pipeline, name)])
    elif route == "transcribe":
        key = AudioId.parse(name).opus_key
        outcomes = pipeline.transcribe().handle([event_for(pipeline, key)])
    elif route == "moderate":
        key = AudioId.parse(name).transcript_key
        outcomes = pipeline.moderate().handle([event_for(pipeline, key)])
    else:
        key = BatchId(name).complete_key
        outcomes = pipeline.review(REVIEW_SAMPLE="1").handle([event_for(pipeline, key)])
    assert outcomes == [None]
