"""An archive is marked for expiry when its batch is complete, and not a moment before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from consumers.errors import PermanentError
from consumers.speech.recogniser import Waveform
from consumers.stages.stored_archive import (
    BATCH_TAG,
    COMPLETE,
    FAILED,
    KEPT,
    STATE_TAG,
    describe,
    retire,
    unretire,
)
from consumers.store import ObjectGoneError, Store
from events.keys import ArchiveKey, BatchId
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_rebuilder, open_reprocessor
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline, Run, printed
from tests.integration.damage import execute, swept, transcribed, unpacked
from tests.samples import RECORDINGS, WAV, archive

BATCH = BatchId("20250622-143052-a1b2c3")
FOREIGN = "archives/interviews in May.tar"


def stored(store: Store, key: str, content: bytes = b"content") -> str:
    """Store an archive; gives its ETag."""
    store.write(key, content, content_type="application/x-tar")
    found = store.head(key)
    assert found is not None
    return found.etag


def test_the_archive_of_a_complete_batch_may_expire(pipeline: Pipeline, tmp_path: Path) -> None:
    batch = pipeline.drop(archive(tmp_path, tar_of(RECORDINGS)))
    pipeline.start(transcribers=0)
    eventually(lambda: pipeline.store.head(batch.manifest_key))
    assert pipeline.store.tags(batch.archive_key) == {}
    pipeline.start()
    assert pipeline.wait(batch).state == "complete"
    assert pipeline.store.tags(batch.archive_key) == {STATE_TAG: COMPLETE, BATCH_TAG: str(batch)}


def test_an_archive_that_could_not_be_read_stays(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, tar_of(RECORDINGS)[:-1500]))
    assert progress.state == "failed"
    assert pipeline.store.tags(progress.batch.archive_key)[STATE_TAG] == FAILED


def test_tags_of_others_stay(store: Store) -> None:
    etag = stored(store, BATCH.archive_key)
    store.tag(BATCH.archive_key, {"project": "birds"})
    retire(store, BATCH.archive_key, etag, BATCH, COMPLETE)
    assert store.tags(BATCH.archive_key)["project"] == "birds"
    unretire(store, BATCH.archive_key, BATCH)
    assert store.tags(BATCH.archive_key) == {"project": "birds", BATCH_TAG: str(BATCH)}


def test_other_content_under_the_same_key_is_not_marked(store: Store) -> None:
    etag = stored(store, BATCH.archive_key)
    stored(store, BATCH.archive_key, b"other content")
    retire(store, BATCH.archive_key, etag, BATCH, COMPLETE)
    assert store.tags(BATCH.archive_key) == {}


class Interrupted(Store):
    """A bucket into which somebody stores other content right before it is tagged."""

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        if tags:
            stored(self, key, b"other content")
        super().tag(key, tags)


def test_other_content_that_comes_while_it_is_marked_is_not_marked(store: Store) -> None:
    etag = stored(store, BATCH.archive_key)
    retire(Interrupted(store._client, store.bucket), BATCH.archive_key, etag, BATCH, COMPLETE)
    assert store.tags(BATCH.archive_key) == {}


def test_retiring_a_missing_archive_creates_nothing(store: Store) -> None:
    retire(store, BATCH.archive_key, "etag", BATCH, COMPLETE)
    assert store.head(BATCH.archive_key) is None
    with pytest.raises(ObjectGoneError):
        store.tags(BATCH.archive_key)


def test_an_archive_keeps_its_batch_though_marking_it_modifies_it(store: Store) -> None:
    """Ceph gives an object another LastModified when it is tagged."""
    key = ArchiveKey(FOREIGN, None)
    etag = stored(store, FOREIGN)
    before = store.head(FOREIGN)
    assert before is not None
    batch = describe(store, key, before).batch
    retire(store, FOREIGN, etag, batch, COMPLETE)
    unretire(store, FOREIGN, batch)
    after = store.head(FOREIGN)
    assert after is not None
    assert describe(store, key, after).batch == batch


CUT = WAV[: len(WAV) // 2]


def ended(pipeline: Pipeline, tmp_path: Path, members: Mapping[str, bytes]) -> BatchId:
    """Drop an archive, and do all of its recordings."""
    batch = unpacked(pipeline, tmp_path, tar_of(members))
    done = [each.audio.ordinal for each in pipeline.database.recordings(batch) if each.opus_key]
    transcribed(pipeline, batch, done)
    return batch


def state_of(pipeline: Pipeline, batch: BatchId) -> tuple[str, bool]:
    """The tag of a batch's archive, and whether its row says that it is kept."""
    row = pipeline.database.batch(batch)
    assert row is not None
    return pipeline.store.tags(batch.archive_key)[STATE_TAG], row.is_kept


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({"a.wav": WAV, "notes.txt": b"read me first, please"}, COMPLETE),
        ({"a.wav": WAV, "bad.mp3": bytes(99)}, KEPT),
        ({"a.wav": WAV, "cut.wav": CUT}, KEPT),
        ({"bad.mp3": bytes(99)}, KEPT),
    ],
    ids=["all is accounted for", "a member was rejected", "sound is missing", "nothing is left"],
)
def test_only_an_archive_of_which_nothing_is_missing_expires(
    pipeline: Pipeline, tmp_path: Path, members: dict[str, bytes], state: str
) -> None:
    batch = ended(pipeline, tmp_path, members)
    assert state_of(pipeline, batch) == (state, state == KEPT)


def test_a_recording_that_the_recogniser_rejects_keeps_the_archive(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(waveforms: Sequence[Waveform]) -> list[PermanentError]:
        return [PermanentError("too loud") for _ in waveforms]

    monkeypatch.setattr(pipeline.recogniser, "transcribe", reject)
    assert state_of(pipeline, ended(pipeline, tmp_path, {"a.wav": WAV})) == (KEPT, True)


def test_a_kept_archive_is_named_and_released(pipeline: Pipeline, run: Run, tmp_path: Path) -> None:
    batch = ended(pipeline, tmp_path, {"cut.wav": CUT})
    listed = printed(run("status", "--json"))
    assert (listed["kept_archives"], listed["batches"][0]["archive_kept"]) == (1, True)
    assert "1 archive is kept" in " ".join(run("status").stdout.split())
    (finding,) = printed(run("health", "--check", "batches", "--json"))["findings"]
    assert finding["figures"]["kept_archives"] == 1
    assert "dropscribe release" in finding["what_to_do"]
    (first,) = printed(run("release", str(batch), "--json"))["batches"]
    (second,) = printed(run("release", str(batch), "--json"))["batches"]
    assert (first["released"], second["released"]) == (True, False)
    assert state_of(pipeline, batch) == (COMPLETE, False)
    assert printed(run("status", "--json"))["kept_archives"] == 0


def test_what_cannot_be_released_is_named_and_the_rest_is_released(
    pipeline: Pipeline, run: Run, tmp_path: Path
) -> None:
    batch = ended(pipeline, tmp_path, {"cut.wav": CUT})
    unknown = "20250622-143052-a1b2c3"
    result = run("release", unknown, str(batch))
    assert result.exit_code == 1
    assert f"there is no batch {unknown}" in result.stderr
    assert "released: it may expire now" in result.stdout
    unfinished = unpacked(pipeline, tmp_path, tar_of({"a.wav": WAV}))
    assert "is not complete" in run("release", str(unfinished)).stderr


def test_a_failed_archive_is_released_too(pipeline: Pipeline, run: Run, tmp_path: Path) -> None:
    batch = unpacked(pipeline, tmp_path, tar_of(RECORDINGS)[:-1500])
    transcribed(pipeline, batch, range(3))
    assert state_of(pipeline, batch) == (FAILED, True)
    assert run("release", str(batch)).exit_code == 0
    assert state_of(pipeline, batch) == (COMPLETE, False)


def test_rebuild_knows_what_was_released(pipeline: Pipeline, run: Run, tmp_path: Path) -> None:
    batch = ended(pipeline, tmp_path, {"cut.wav": CUT})
    with open_rebuilder(pipeline.environment, quiet_log()) as rebuilder:
        for state, is_kept in ((KEPT, True), (COMPLETE, False)):
            execute(pipeline.database, "DELETE FROM batches")
            rebuilder.rebuild(batch)
            assert state_of(pipeline, batch) == (state, is_kept)
            run("release", str(batch))


def test_rebuild_tags_an_archive_whose_worker_died_before(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = ended(pipeline, tmp_path, {"cut.wav": CUT})
    unretire(pipeline.store, batch.archive_key, batch)
    with open_rebuilder(pipeline.environment, quiet_log()) as rebuilder:
        rebuilder.rebuild(batch)
    assert state_of(pipeline, batch) == (KEPT, True)


def test_reprocessing_decides_anew(pipeline: Pipeline, run: Run, tmp_path: Path) -> None:
    batch = ended(pipeline, tmp_path, {"cut.wav": CUT})
    assert run("release", str(batch)).exit_code == 0
    with open_reprocessor(pipeline.environment, quiet_log()) as reprocessor:
        reprocessor.transcribe_again(batch)
    assert STATE_TAG not in pipeline.store.tags(batch.archive_key)
    assert "is not complete" in run("release", str(batch)).stderr
    transcribed(pipeline, batch, [0])
    assert state_of(pipeline, batch) == (KEPT, True)


def test_a_sweep_forgets_kept_archives_that_are_gone(pipeline: Pipeline, tmp_path: Path) -> None:
    batches = [ended(pipeline, tmp_path, {"cut.wav": CUT}) for _ in range(2)]
    pipeline.store.delete(batches[0].archive_key)
    swept(pipeline, is_dry=True)
    assert pipeline.database.kept_archives() == 2
    swept(pipeline)
    assert pipeline.database.kept_archives() == 1
