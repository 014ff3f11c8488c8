"""Drop an archive, get transcripts: through real notifications, queues and rows."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumers.errors import PermanentError, TransientError
from consumers.runtime.handler import Handler
from consumers.runtime.retry_policy import RETRY_DELAYS
from consumers.store import Store
from events.event import ObjectCreated
from events.keys import AudioId
from events.routes import queue_name, route_named
from ops.bootstrap import bootstrap
from ops.wiring.environment import Environment
from ops.wiring.settings import StoreSettings, read_broker_address
from tests.contracts.pipeline import PipelineContract, states
from tests.harness.polling import eventually
from tests.harness.samples.archives import entry, tar_of, tar_of_entries
from tests.harness.samples.sounds import Recipe, made, voice
from tests.harness.servers.store import boto_client
from tests.integration.conftest import Pipeline
from tests.samples import FLAC, RECORDINGS, SILENT, WAV, archive


@pytest.fixture
def place(pipeline: Pipeline) -> Pipeline:
    pipeline.start()
    return pipeline


class TestPipelineOnTheEmbeddedStack(PipelineContract):
    """The contract."""


def test_a_silent_recording_is_marked_and_never_heard(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, tar_of({"silent.wav": SILENT, "a.wav": WAV})))
    assert progress.state == "complete"
    assert states(pipeline.database, progress.batch) == {
        "silent.wav": "silent",
        "a.wav": "transcribed",
    }
    assert pipeline.recogniser.groups == [1]


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
    s3 = boto_client("s3", settings)
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
    sqs = boto_client("sqs", address)
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
    # The last of all comes after the batch is complete.
    eventually(lambda: store.head(batch.review_key))
    written = {key: store.head(key) for key in store.keys("processed/")}
    assert len(written) == 3 + 3 + 3
    # All five are used up, and the late ones changed nothing.
    eventually(lambda: _is_empty(sqs, url) and _is_empty(sqs, url), seconds=40)
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
    # The last of all comes after the batch is complete.
    eventually(lambda: pipeline.store.head(batch.review_key))
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


def test_a_folder_with_content_is_told(pipeline: Pipeline) -> None:
    for key in ("archives/tapes/", "archives/"):
        pipeline.store.write(key, tar_of({"a.wav": WAV}), content_type="application/x-tar")
        (error,) = pipeline.unpack().handle([event_for(pipeline, key)])
        assert isinstance(error, PermanentError)
        assert "ends in '/', like a folder, but has" in str(error)


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
    monkeypatch.setattr("consumers.stages.transcribe.Transcribe._most", 5.0)
    batch = pipeline.drop(archive(tmp_path, tar_of({f"{n}.wav": WAV for n in range(5)})))
    pipeline.unpack().handle([event_for(pipeline, batch.archive_key)])
    sounds = [event_for(pipeline, AudioId(batch, ordinal).opus_key) for ordinal in range(5)]
    assert pipeline.transcribe().handle(sounds) == [None] * 5
    # Two seconds each: two together, never three.
    assert pipeline.recogniser.groups == [2, 2, 1]


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
