"""The main job, as a person runs it: real archive, real notifications, real WhisperX."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.speech.dropscribe import leftovers, run, settings_printed, started, wait_until_gone
from tests.speech.test_recognition import word_errors

#: Of the words of the whole sample, after their way through Opus.
WORD_ERRORS = 0.05


@pytest.mark.timeout(300)
def test_the_sample_is_transcribed(script: dict[str, str], tmp_path: Path, temporary: Path) -> None:
    out = tmp_path / "out"
    result = run("try", "--json", "--out", str(out), TMPDIR=str(temporary))
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", answer["batch_id"])
    assert answer["state"] == "complete"
    assert answer["counts"] == {"transcribed": 5, "silent": 1, "rejected": 1, "ignored": 1}
    recordings = {each["path"]: each for each in answer["recordings"]}
    recognised = " ".join(recordings[path]["text"] for path in script)
    assert word_errors(" ".join(script.values()), recognised) <= WORD_ERRORS
    for path, recording in recordings.items():
        assert set(recording) == {
            "audio_id",
            "path",
            "state",
            "flagged",
            "reason",
            "verdict_reason",
            "duration",
            "language",
            "text",
            "opus_key",
            "transcript_key",
            "verdict_key",
            "notes",
            "tags",
        }
        if path in script:
            assert recording["language"] == "en"
            assert recording["duration"] > 1
            assert recording["opus_key"].endswith(".opus")
            assert recording["transcript_key"].endswith(".transcript.json")
    assert recordings["interviews/broken.mp3"]["reason"]
    assert recordings["voicemail/silence.wav"]["state"] == "silent"
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == {"members.csv"} | {
        f"{path}.{form}"
        for path in [*script, "voicemail/silence.wav"]
        for form in ("json", "srt", "vtt", "txt")
    }
    # Neither a process nor a file is left, and no bar was drawn where there is no terminal.
    assert leftovers(temporary) == []
    assert result.stderr == ""


@pytest.mark.timeout(120)
def test_a_bad_archive_fails_in_words(tmp_path: Path, temporary: Path) -> None:
    archive = tmp_path / "letter.tar"
    archive.write_text("Dear archive,\n")
    result = run("try", str(archive), TMPDIR=str(temporary))
    assert result.returncode == 1
    assert "is failed" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert leftovers(temporary) == []


@pytest.mark.timeout(120)
def test_a_model_that_is_not_there_is_named(temporary: Path) -> None:
    result = run("try", WHISPER_MODEL="/none/such", TMPDIR=str(temporary))
    assert result.returncode == 1
    assert "WHISPER_MODEL" in result.stderr
    assert leftovers(temporary) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("after", [1.0, 4.0, 9.0], ids=["at once", "starting", "at work"])
def test_ctrl_c_ends_everything(temporary: Path, after: float) -> None:
    with started(["try"], temporary) as process:
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert wait_until_gone(temporary) == []


@pytest.mark.timeout(120)
def test_even_a_kill_leaves_nothing_behind(temporary: Path) -> None:
    with started(["try"], temporary) as process:
        time.sleep(8)
        process.kill()
        process.communicate()
    assert wait_until_gone(temporary, 30) == []


@pytest.mark.timeout(240)
def test_the_other_commands_reach_the_stack_that_is_up(
    script: dict[str, str], temporary: Path
) -> None:
    with started(["up"], temporary) as process:
        variables = settings_printed(process)
        sample = str(Path(__file__).parents[2] / "ops" / "sample" / "sample.tar")
        dropped = run("drop", "--wait", "--json", sample, **variables)
        assert dropped.returncode == 0, dropped.stderr
        (batch,) = json.loads(dropped.stdout)["batches"]
        assert batch["state"] == "complete"
        found = run("search", "grandfather", "--json", **variables)
        (hit,) = json.loads(found.stdout)["hits"]
        assert hit["path"] in script
        again = run("bootstrap", "--json", **variables)
        assert not any(step["changed"] for step in json.loads(again.stdout)["steps"])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "are deleted then" in errors
    assert wait_until_gone(temporary) == []
