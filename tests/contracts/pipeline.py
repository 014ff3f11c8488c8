"""The contract of the pipeline: an archive is dropped, and each of its recordings is finished.

Through real notifications, queues and rows, whichever servers they are of.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest

from consumers.database.batches import BatchRepository
from consumers.database.rows import Recording
from consumers.documents.manifest import read_manifest
from consumers.documents.transcript import Transcript
from consumers.stages.stored_archive import BATCH_TAG, COMPLETE, FAILED, STATE_TAG
from consumers.store import Store
from events.keys import AudioId, BatchId
from ops.bootstrap import bootstrap
from ops.cli.batch_progress import BatchProgress
from ops.wiring.environment import Environment
from tests.harness.polling import eventually
from tests.harness.samples.archives import EVERY_FORMAT, tar_of
from tests.samples import FLAC, RECORDINGS, SILENT, WAV, archive

#: Above this, an archive goes up in parts.
PART = 16 << 20


class Place(Protocol):
    """Bootstrapped servers, and a consumer of each route at work."""

    @property
    def environment(self) -> Environment:
        """Settings of a user with all rights."""

    @property
    def store(self) -> Store:
        """The bucket, which other tests share."""

    @property
    def database(self) -> BatchRepository:
        """The tables."""

    def drop(self, archive: Path) -> BatchId:
        """Drop an archive as ``dropscribe drop`` does."""

    def wait(self, batch: BatchId) -> BatchProgress:
        """Wait until nothing more happens to a batch."""

    def left_in_scratch(self) -> Sequence[Path]:
        """List the files in the consumers' scratch."""


def by_path(database: BatchRepository, batch: BatchId) -> dict[str, Recording]:
    return {recording.path: recording for recording in database.recordings(batch)}


def states(database: BatchRepository, batch: BatchId) -> dict[str, str]:
    return {path: recording.state for path, recording in by_path(database, batch).items()}


def keys(place: Place, batch: BatchId) -> list[str]:
    """List a batch's objects, without its archive."""
    return list(place.store.keys(batch.prefix))


class PipelineContract:
    """Inherit it, and give a fixture ``place``."""

    @pytest.mark.parametrize("name", EVERY_FORMAT)
    def test_every_recording_of_an_archive_is_transcribed(
        self, place: Place, tmp_path: Path, name: str
    ) -> None:
        path = archive(tmp_path, EVERY_FORMAT[name](RECORDINGS), f"calls.{name}")
        progress = place.wait(place.drop(path))
        assert progress.state == "complete"
        recordings = by_path(place.database, progress.batch)
        assert {path: recording.text for path, recording in recordings.items()} == dict.fromkeys(
            RECORDINGS, "2 seconds of sound"
        )
        assert progress.row is not None
        assert progress.row.original_name == f"calls.{name}"

    def test_an_archive_is_read_by_its_content_and_not_by_its_name(
        self, place: Place, tmp_path: Path
    ) -> None:
        batch = place.drop(archive(tmp_path, tar_of(RECORDINGS), "misnamed.zip"))
        assert place.wait(batch).counts == {"transcribed": 3}

    def test_the_keys_tell_the_whole_story(self, place: Place, tmp_path: Path) -> None:
        batch = place.drop(archive(tmp_path, tar_of(RECORDINGS)))
        assert place.wait(batch).state == "complete"
        recordings = [AudioId(batch, ordinal) for ordinal in range(3)]
        expected = [audio.opus_key for audio in recordings]
        expected += [audio.transcript_key for audio in recordings]
        expected += [batch.manifest_key, batch.complete_key, batch.review_key]
        # The last of them comes after the batch is complete.
        eventually(lambda: place.store.head(batch.review_key), seconds=30)
        assert keys(place, batch) == sorted(expected)
        assert place.store.tags(batch.archive_key) == {STATE_TAG: COMPLETE, BATCH_TAG: str(batch)}

    def test_each_object_agrees_with_its_row(self, place: Place, tmp_path: Path) -> None:
        batch = place.drop(archive(tmp_path, tar_of({"Zoë/ü.flac": FLAC})))
        place.wait(batch)
        (recording,) = place.database.recordings(batch)
        assert recording.opus_key is not None
        opus = place.store.head(recording.opus_key)
        assert opus is not None
        assert opus.metadata["path"] == recording.path == "Zoë/ü.flac"
        assert opus.metadata["source-sha256"] == recording.source_sha256
        assert float(opus.metadata["duration"]) == pytest.approx(2.0, abs=0.05)
        assert (recording.codec, recording.sample_rate, recording.channels) == ("flac", 96_000, 2)
        transcript = Transcript.from_json(place.store.read(AudioId(batch, 0).transcript_key))
        assert transcript.text == recording.text
        complete = json.loads(place.store.read(batch.complete_key))
        assert complete["state"] == "complete"
        assert complete["counts"] == {"transcribed": 1}

    def test_the_manifest_has_a_line_for_every_member(self, place: Place, tmp_path: Path) -> None:
        members = {"a.wav": WAV, "cover.jpg": b"\xff\xd8\xff\xe0" * 50, "bad.mp3": bytes(99)}
        batch = place.drop(archive(tmp_path, tar_of(members)))
        place.wait(batch)
        head, entries = read_manifest(io.BytesIO(place.store.read(batch.manifest_key)))
        assert head.archive.batch == batch
        assert head.totals == {"accepted": 1, "rejected": 1, "ignored": 1}
        assert [(line.path, line.outcome) for line in entries] == [
            ("a.wav", "accepted"),
            ("cover.jpg", "ignored"),
            ("bad.mp3", "rejected"),
        ]

    def test_silent_and_ignored_members_do_not_delay_the_others(
        self, place: Place, tmp_path: Path
    ) -> None:
        members = {"silent.wav": SILENT, "bad.mp3": bytes(99), "a.wav": WAV}
        progress = place.wait(place.drop(archive(tmp_path, tar_of(members))))
        assert progress.state == "complete"
        assert states(place.database, progress.batch) == {
            "silent.wav": "silent",
            "bad.mp3": "rejected",
            "a.wav": "transcribed",
        }

    def test_an_archive_that_breaks_off_is_a_failed_batch_and_is_kept(
        self, place: Place, tmp_path: Path
    ) -> None:
        batch = place.drop(archive(tmp_path, tar_of({"a.wav": WAV, "b.wav": WAV})[:-1500]))
        assert place.wait(batch).state == "failed"
        assert states(place.database, batch)["a.wav"] == "transcribed"
        assert json.loads(place.store.read(batch.complete_key))["state"] == "failed"
        assert place.store.tags(batch.archive_key)[STATE_TAG] == FAILED

    @pytest.mark.parametrize("name", ["tapes/1978 a+b%2B.tar", "Zoë & Ümit = 100 %.tar"])
    def test_an_archive_under_any_name_is_a_batch(self, place: Place, name: str) -> None:
        """Every encoding of keys in notifications changes these."""
        key = f"archives/{name}"
        place.store.write(key, tar_of(RECORDINGS), content_type="application/x-tar")
        stored = place.store.head(key)
        assert stored is not None
        # Its time as it was dropped: the tag may count as a modification.
        batch = BatchId.derived(stored.last_modified, key, stored.etag)
        progress = place.wait(batch)
        assert progress.counts == {"transcribed": 3}
        assert progress.row is not None
        assert progress.row.archive_key == key

    def test_an_archive_that_goes_up_in_parts_is_one_batch(
        self, place: Place, tmp_path: Path
    ) -> None:
        notes = b"recorded by the harbour\n" * (PART // 20)
        batch = place.drop(archive(tmp_path, tar_of({"notes.txt": notes, "a.wav": WAV})))
        stored = place.store.head(batch.archive_key)
        assert stored is not None
        assert stored.size > PART
        progress = place.wait(batch)
        assert progress.counts == {"transcribed": 1}
        assert progress.row is not None
        assert progress.row.etag == stored.etag

    def test_bootstrap_can_be_run_at_any_time(self, place: Place, tmp_path: Path) -> None:
        assert [step.what for step in bootstrap(place.environment) if step.changed] == []
        batch = place.drop(archive(tmp_path, tar_of(RECORDINGS)))
        assert [step.what for step in bootstrap(place.environment) if step.changed] == []
        assert place.wait(batch).counts == {"transcribed": 3}

    def test_scratch_is_empty_afterwards(self, place: Place, tmp_path: Path) -> None:
        members = {**RECORDINGS, "bad.mp3": bytes(99), "/etc/passwd": WAV, "../up.wav": WAV}
        batch = place.drop(archive(tmp_path, tar_of(members)))
        assert place.wait(batch).state == "complete"
        eventually(lambda: not place.left_in_scratch(), seconds=5)
