"""The commands, on the embedded servers."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from click import Context, Group

from consumers.database.batches import BatchRepository
from consumers.database.migrate import migrations
from ops.cli.main import COMMANDS, main
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline, Run, printed
from tests.samples import MP3, RECORDINGS, WAV, archive


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert name in result.stdout
        shown = run(name, "--help")
        assert shown.exit_code == 0
        # Examples stand as they were written.
        assert "\\b" not in result.stdout + shown.stdout
        command = main.get_command(Context(main), name)
        for part in command.commands if isinstance(command, Group) else ():
            assert part in shown.stdout
            shown_part = run(name, part, "--help")
            assert (shown_part.exit_code, "\\b" in shown_part.stdout) == (0, False)
    assert "\n    dropscribe try my-recordings.tar.gz\n" in result.stdout


def test_bootstrap_lists_its_changes(run: Run, variables: dict[str, str]) -> None:
    first, second = printed(run("bootstrap", "--json")), printed(run("bootstrap", "--json"))
    bucket = variables["S3_BUCKET"]
    assert {"what": f"bucket {bucket}", "changed": True} in first["steps"]
    assert not any(step["changed"] for step in second["steps"])
    assert f"present  bucket {bucket}" in run("bootstrap").stdout


def test_a_drop_can_be_waited_for(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    path = archive(tmp_path, tar_of(RECORDINGS))
    answer = printed(run("drop", "--wait", "--json", str(path)))
    (batch,) = answer["batches"]
    assert batch["state"] == "complete"
    assert batch["counts"] == {"transcribed": 3, "ignored": 0}
    assert batch["original_name"] == "calls.tar"


def test_several_archives_are_several_batches(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    paths = [archive(tmp_path, tar_of({"a.wav": WAV}), name) for name in ("a.tar", "b.tar")]
    result = run("drop", *map(str, paths))
    assert result.exit_code == 0
    assert len(set(result.stdout.split())) == 2
    assert list(pipeline.store.keys("archives/")) == sorted(
        f"archives/{batch}.tar" for batch in result.stdout.split()
    )


def test_waiting_for_a_bad_archive_fails_and_says_why(
    run: Run, pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.start()
    result = run("drop", "--wait", "--json", str(archive(tmp_path, b"no archive")))
    assert result.exit_code == 1
    (batch,) = json.loads(result.stdout)["batches"]
    assert batch["state"] == "failed"
    assert batch["reason"]


def test_status_tells_how_far_batches_are(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    members = {**RECORDINGS, "bad.mp3": bytes(99)}
    batch = pipeline.run(archive(tmp_path, tar_of(members))).batch
    (listed,) = printed(run("status", "--json"))["batches"]
    assert listed["batch_id"] == str(batch)
    assert listed["counts"] == {"transcribed": 3, "rejected": 1, "ignored": 0}
    shown = printed(run("status", str(batch), "--json"))
    assert [entry["path"] for entry in shown["recordings"]] == list(members)
    assert "calls/one.mp3" in run("status", str(batch)).stdout
    assert str(batch) in run("status").stdout


def test_status_names_a_recording_that_does_not_go_on(
    run: Run, pipeline: Pipeline, database: BatchRepository, tmp_path: Path
) -> None:
    pipeline.start(transcribers=0)
    batch = pipeline.drop(archive(tmp_path, tar_of({"a.wav": WAV})))
    eventually(lambda: pipeline.store.head(batch.manifest_key))
    (recording,) = eventually(lambda: database.recordings(batch))
    database.stall_recording(recording.audio, "the model is not there")
    shown = printed(run("status", str(batch), "--json"))
    assert shown["state"] == "stalled"
    assert shown["recordings"][0]["stalled"] == "the model is not there"


def test_transcripts_can_be_printed_and_written(
    run: Run, pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.start()
    batch = pipeline.run(archive(tmp_path, tar_of({"calls/a.mp3": MP3}))).batch
    for form in ("txt", "srt", "vtt", "json"):
        shown = run("transcripts", str(batch), "--format", form)
        assert shown.exit_code == 0
        assert "2 seconds of sound" in shown.stdout
        out = tmp_path / form
        assert run("transcripts", str(batch), "--format", form, "--out", str(out)).exit_code == 0
        assert "2 seconds of sound" in (out / "calls" / f"a.mp3.{form}").read_text()


def test_all_transcripts_in_one_object(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    batch = pipeline.run(archive(tmp_path, tar_of({"calls/a.mp3": MP3}))).batch
    (transcript,) = printed(run("transcripts", str(batch), "--json"))["transcripts"]
    assert transcript["path"] == "calls/a.mp3"
    assert transcript["segments"][0]["text"] == "2 seconds of sound"


def test_an_impossible_folder_is_reported(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    path = archive(tmp_path, tar_of({"calls/a.mp3": MP3}))
    batch = pipeline.run(path).batch
    result = run("transcripts", str(batch), "--out", str(path / "below-a-file"))
    assert result.exit_code == 1
    assert "Not a directory" in result.stderr


@pytest.mark.usefixtures("environment")
def test_watching_is_for_people(run: Run) -> None:
    assert run("status", "--watch", "--json").exit_code == 2


def test_search_finds_spoken_words(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    pipeline.run(archive(tmp_path, tar_of({"calls/a.mp3": MP3})))
    (hit,) = printed(run("search", '"seconds of" -minutes', "--json"))["hits"]
    assert hit["path"] == "calls/a.mp3"
    assert "[seconds]" in hit["passage"]
    assert "calls/a.mp3" in run("search", "sound").stdout
    nothing = run("search", "aubergine")
    assert nothing.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "20250622-143052-a1b2c3"), "no batch"),
        (("status", "yesterday"), "not a batch id"),
        (("transcripts", "20250622-143052-a1b2c3"), "no batch"),
        (("drop", "/none/such.tar"), "does not exist"),
        (("consume", "everything"), "everything"),
    ],
)
@pytest.mark.usefixtures("environment")
def test_an_error_is_a_line_of_words(run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert words in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("name", "value"),
    [("DATABASE_URL", ""), ("S3_SECRET_KEY", ""), ("S3_ENDPOINT", "nowhere")],
)
def test_a_setting_that_is_wrong_is_named(run: Run, name: str, value: str) -> None:
    result = run("bootstrap", **{name: value})
    assert result.exit_code != 0
    assert name in result.stderr


def test_without_a_schema_it_names_the_remedy(run: Run, embedded: dict[str, str]) -> None:
    result = run("status", DATABASE_URL=embedded["DATABASE_URL"])
    assert result.exit_code == 1
    assert "dropscribe bootstrap" in result.stderr


@pytest.mark.usefixtures("environment")
def test_a_consumer_of_a_newer_release_than_its_schema_does_not_begin(
    run: Run, variables: dict[str, str]
) -> None:
    newest = migrations()[-1]
    with psycopg.connect(variables["DATABASE_URL"]) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = %s", [newest.version])
    result = run("consume", "review")
    assert result.exit_code == 1
    assert f"{newest.version:04} {newest.name}" in result.stderr
    assert "dropscribe bootstrap" in result.stderr
