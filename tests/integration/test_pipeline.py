"""Drop an archive, get transcripts: through real notifications, queues and rows."""

from __future__ import annotations

import io
import json
import tarfile
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
import zstandard

from consumers.database.database import Database
from consumers.database.rows import Recording
from consumers.errors import PermanentError, TransientError
from consumers.handler import Handler
from consumers.manifest import read_manifest
from consumers.store import Store
from consumers.transcript import Transcript
from consumers.verdict import RETRY_DELAYS
from events.event import ObjectCreated
from events.keys import AudioId, BatchId
from events.routes import queue_name
from ops.bootstrap import bootstrap
from ops.composition import route_named
from ops.environment import Environment
from ops.settings import StoreSettings, read_broker_address
from tests.integration.conftest import Pipeline, eventually
from tests.unit.archives import entry, tar_of, tar_of_entries
from tests.unit.sounds import Recipe, made, silence, voice

WAV = made(Recipe("wav", "pcm_s16le"))
MP3 = made(Recipe("mp3", "libmp3lame", rate=8_000, layout="mono"))
FLAC = made(Recipe("flac", "flac", rate=96_000))
SILENT = made(Recipe("wav", "pcm_s16le"), silence(rate=44_100))

RECORDINGS = {"calls/one.mp3": MP3, "two.wav": WAV, "calls/three.flac": FLAC}


def archive(tmp_path: Path, data: bytes, name: str = "calls.tar") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def by_path(database: Database, batch: BatchId) -> dict[str, Recording]:
    return {recording.path: recording for recording in database.recordings(batch)}


def states(database: Database, batch: BatchId) -> dict[str, str]:
    return {path: recording.state for path, recording in by_path(database, batch).items()}


def zip_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def compressed_tar(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{mode}") as archive:  # type: ignore[call-overload]
        for name, data in RECORDINGS.items():
            archive.addfile(entry(name, size=len(data)), io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("calls.tar", tar_of(RECORDINGS)),
        ("calls.tar.gz", compressed_tar("gz")),
        ("calls.tar.bz2", compressed_tar("bz2")),
        ("calls.tar.xz", compressed_tar("xz")),
        ("calls.tar.zst", zstandard.compress(tar_of(RECORDINGS))),
        ("calls.zip", zip_of(RECORDINGS)),
        ("misnamed.zip", tar_of(RECORDINGS)),
    ],
)
def test_every_recording_of_an_archive_is_transcribed(
    pipeline: Pipeline, tmp_path: Path, name: str, data: bytes
) -> None:
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, data, name))
    assert progress.state == "complete"
    recordings = by_path(pipeline.database, progress.batch)
    assert {path: recording.text for path, recording in recordings.items()} == dict.fromkeys(
        RECORDINGS, "2 seconds of sound"
    )
    assert progress.row is not None
    assert progress.row.original_name == name


def test_the_keys_tell_the_whole_story(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    batch = pipeline.run(archive(tmp_path, tar_of(RECORDINGS))).batch
    recordings = [AudioId(batch, ordinal) for ordinal in range(3)]
    expected = [audio.opus_key for audio in recordings]
    expected += [audio.transcript_key for audio in recordings]
    expected += [batch.manifest_key, batch.complete_key]
    assert list(pipeline.store.keys("processed/")) == sorted(expected)
    assert list(pipeline.store.keys("archives/")) == [batch.archive_key]


def test_each_object_says_what_its_row_says(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    batch = pipeline.run(archive(tmp_path, tar_of({"Zoë/ü.flac": FLAC}))).batch
    (recording,) = pipeline.database.recordings(batch)
    assert recording.opus_key is not None
    opus = pipeline.store.head(recording.opus_key)
    assert opus is not None
    assert opus.metadata["path"] == recording.path == "Zoë/ü.flac"
    assert opus.metadata["source-sha256"] == recording.source_sha256
    assert float(opus.metadata["duration"]) == pytest.approx(2.0, abs=0.05)
    assert (recording.codec, recording.sample_rate, recording.channels) == ("flac", 96_000, 2)
    transcript = Transcript.from_json(pipeline.store.read(AudioId(batch, 0).transcript_key))
    assert transcript.text == recording.text
    complete = json.loads(pipeline.store.read(batch.complete_key))
    assert complete["state"] == "complete"
    assert complete["counts"] == {"transcribed": 1}


def test_the_manifest_has_a_line_for_every_member(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    members = {"a.wav": WAV, "cover.jpg": b"\xff\xd8\xff\xe0" * 50, "bad.mp3": bytes(99)}
    batch = pipeline.run(archive(tmp_path, tar_of(members))).batch
    head, entries = read_manifest(io.BytesIO(pipeline.store.read(batch.manifest_key)))
    assert head.archive.batch == batch
    assert head.totals == {"accepted": 1, "rejected": 1, "ignored": 1}
    assert [(line.path, line.outcome) for line in entries] == [
        ("a.wav", "accepted"),
        ("cover.jpg", "ignored"),
        ("bad.mp3", "rejected"),
    ]


def test_a_silent_recording_is_marked_and_never_heard(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, tar_of({"silent.wav": SILENT, "a.wav": WAV})))
    assert progress.state == "complete"
    assert states(pipeline.database, progress.batch) == {
        "silent.wav": "silent",
        "a.wav": "transcribed",
    }
    assert pipeline.recogniser.groups == [1]


def test_an_archive_under_any_name_is_a_batch(pipeline: Pipeline) -> None:
    pipeline.start()
    key = "archives/tapes/1978 a+b.tar"
    pipeline.store.write(key, tar_of(RECORDINGS), content_type="application/x-tar")
    stored = pipeline.store.head(key)
    assert stored is not None
    batch = BatchId.derived(stored.last_modified, key, stored.etag)
    assert pipeline.wait(batch).state == "complete"


def test_recordings_are_transcribed_in_groups(pipeline: Pipeline, tmp_path: Path) -> None:
    many = {f"{n}.wav": WAV for n in range(24)}
    pipeline.start(transcribers=0)
    batch = pipeline.drop(archive(tmp_path, tar_of(many)))
    eventually(lambda: pipeline.store.head(batch.manifest_key))
    pipeline.start(unpackers=0)
    assert pipeline.wait(batch).counts == {"transcribed": 24}
    assert max(pipeline.recogniser.groups) > 1


def test_without_notification_rules_nothing_happens(
    pipeline: Pipeline, environment: Environment, tmp_path: Path
) -> None:
    settings = StoreSettings.read(environment)
    s3 = boto3.client(
        "s3",
        endpoint_url=settings.endpoint,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        region_name=settings.region,
    )
    s3.put_bucket_notification_configuration(Bucket=settings.bucket, NotificationConfiguration={})
    pipeline.start()
    batch = pipeline.drop(archive(tmp_path, tar_of(RECORDINGS)))
    time.sleep(3)
    assert list(pipeline.store.keys("processed/")) == []
    assert pipeline.database.batch(batch) is None
    # And with the rules back, the same archive stored again goes its way.
    assert [step.what for step in bootstrap(environment) if step.changed] == [
        f"notification rules of bucket {settings.bucket}"
    ]
    pipeline.store.write(batch.archive_key, tar_of(RECORDINGS), content_type="application/x-tar")
    assert pipeline.wait(batch).state == "complete"


def test_an_event_delivered_five_times_at_once_makes_one_batch(
    pipeline: Pipeline, environment: Environment, store: Store, tmp_path: Path
) -> None:
    batch = pipeline.drop(archive(tmp_path, tar_of(RECORDINGS)))
    address = read_broker_address(environment)
    sqs = boto3.client(
        "sqs",
        endpoint_url=address.endpoint,
        aws_access_key_id=address.access_key,
        aws_secret_access_key=address.secret_key,
        region_name=address.region,
    )
    url = sqs.get_queue_url(QueueName=queue_name(address.prefix, route_named("unpack")))["QueueUrl"]
    (message,) = eventually(
        lambda: sqs.receive_message(QueueUrl=url, VisibilityTimeout=0).get("Messages")
    )
    for _ in range(4):
        sqs.send_message(QueueUrl=url, MessageBody=message["Body"])
    pipeline.start(unpackers=3, transcribers=2)
    progress = pipeline.wait(batch)
    assert progress.state == "complete"
    assert progress.counts == {"transcribed": 3}
    written = {key: store.head(key) for key in store.keys("processed/")}
    assert len(written) == 3 + 3 + 2
    # All five are used up, and the late ones changed nothing.
    eventually(lambda: (_is_empty(sqs, url) and _is_empty(sqs, url)) or None, seconds=40)
    assert {key: store.head(key) for key in store.keys("processed/")} == written
    assert sum(pipeline.recogniser.groups) == 3


def _is_empty(sqs: object, url: str) -> bool:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    names.append("ApproximateNumberOfMessagesDelayed")
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)  # type: ignore[attr-defined]
    return not any(int(answer["Attributes"][name]) for name in names)


def test_an_overwritten_archive_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    batch = pipeline.run(archive(tmp_path, tar_of(RECORDINGS))).batch
    before = list(pipeline.store.keys("processed/"))
    other = pipeline.unpack()
    pipeline.store.write(batch.archive_key, tar_of({"x.wav": WAV}), content_type="x")
    (error,) = other.handle([event_for(pipeline, batch.archive_key)])
    assert "overwritten with other content" in str(error)
    assert list(pipeline.store.keys("processed/")) == before


def event_for(
    pipeline: Pipeline, key: str, *, bucket: str | None = None, ago: timedelta = timedelta()
) -> ObjectCreated:
    """The event of an object that was created just now, or some time ago."""
    name = bucket or pipeline.store.bucket
    return ObjectCreated(name, key, None, None, datetime.now(UTC) - ago, None, "aws")


ARCHIVE = "archives/20250622-143052-a1b2c3.tar"
OPUS = "processed/2025-06-22/20250622-143052-a1b2c3-0000000.opus"


@pytest.mark.parametrize(("route", "key"), [("unpack", ARCHIVE), ("transcribe", OPUS)])
def test_an_event_can_come_before_its_object_and_after_its_end(
    pipeline: Pipeline, route: str, key: str
) -> None:
    handler: Handler = pipeline.unpack() if route == "unpack" else pipeline.transcribe()
    early = event_for(pipeline, key)
    late = event_for(pipeline, key, ago=timedelta(seconds=sum(RETRY_DELAYS)))
    assert [type(error) for error in handler.handle([early])] == [TransientError]
    # By the last retry it is known that the object is gone, and there is nothing to do.
    assert handler.handle([late]) == [None]


@pytest.mark.parametrize(("route", "key"), [("unpack", ARCHIVE), ("transcribe", OPUS)])
def test_an_event_of_another_bucket_is_refused(pipeline: Pipeline, route: str, key: str) -> None:
    handler: Handler = pipeline.unpack() if route == "unpack" else pipeline.transcribe()
    (error,) = handler.handle([event_for(pipeline, key, bucket="another")])
    assert isinstance(error, PermanentError)
    assert "another" in str(error)


def test_a_folder_that_an_s3_console_made_is_no_archive(pipeline: Pipeline) -> None:
    assert pipeline.unpack().handle([event_for(pipeline, "archives/tapes/")]) == [None]


def test_other_objects_beside_a_batchs_own_do_not_matter(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = pipeline.drop(archive(tmp_path, tar_of({"a.wav": WAV})))
    pipeline.store.write(f"{batch.prefix}-notes.opus", b"x", content_type="audio/ogg")
    pipeline.start()
    assert pipeline.wait(batch).counts == {"transcribed": 1}


def test_long_recordings_are_not_held_in_memory_together(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.transcribe._TOGETHER", 5.0)
    batch = pipeline.drop(archive(tmp_path, tar_of({f"{n}.wav": WAV for n in range(5)})))
    pipeline.unpack().handle([event_for(pipeline, batch.archive_key)])
    sounds = [event_for(pipeline, AudioId(batch, ordinal).opus_key) for ordinal in range(5)]
    assert pipeline.transcribe().handle(sounds) == [None] * 5
    # Two seconds each: two together, never three.
    assert pipeline.recogniser.groups == [2, 2, 1]


def test_scratch_is_empty_afterwards(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    members = {**RECORDINGS, "bad.mp3": bytes(99), "/etc/passwd": WAV, "../up.wav": WAV}
    progress = pipeline.run(archive(tmp_path, tar_of(members)))
    assert progress.state == "complete"
    assert list(pipeline.scratch_root.iterdir()) == []


def test_two_members_with_one_name_are_two_recordings(pipeline: Pipeline, tmp_path: Path) -> None:
    twice = [(entry("a.wav", size=len(data)), data) for data in (WAV, FLAC)]
    pipeline.start()
    batch = pipeline.run(archive(tmp_path, tar_of_entries(twice))).batch
    recordings = pipeline.database.recordings(batch)
    assert [(each.path, each.codec) for each in recordings] == [
        ("a.wav", "pcm_s16le"),
        ("a.wav", "flac"),
    ]


def test_long_sound_is_measured_to_the_tenth_of_a_second(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    sound = made(Recipe("ogg", "libopus", rate=48_000), voice(61.3, rate=48_000))
    pipeline.start()
    batch = pipeline.run(archive(tmp_path, tar_of({"long.opus": sound}))).batch
    (recording,) = pipeline.database.recordings(batch)
    assert recording.duration == pytest.approx(61.3, abs=0.1)
