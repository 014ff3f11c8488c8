"""From an archive to a reviewer's decision: real speech, a real recogniser, a real judge.

The judge is a small Gemma-2 with an adapter, made by the tests, that forbids a
word; what loads it and asks it is what loads CoPE-A.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from consumers.speech.recogniser import SAMPLE_RATE
from ops.policies import copy_examples
from tests.policy.tiny import judging_model
from tests.speech.conftest import decoded
from tests.speech.dropscribe import run, settings_printed, started, wait_until_gone

SAMPLE = Path(__file__).parents[2] / "ops" / "sample" / "sample.tar"

#: Each is said in one of the sample's recordings.
FORBIDDEN = {"interviews/01 river.mp3": "river", "voicemail/café.wav": "coffee"}

POLICIES = {"harassment", "hate", "self-harm", "sexual", "violence"}


@pytest.mark.timeout(300)
def test_a_flagged_recording_reaches_a_reviewer(temporary: Path, tmp_path: Path) -> None:
    models, policies = tmp_path / "models", tmp_path / "policies"
    judging_model(models, *FORBIDDEN.values())
    list(copy_examples(policies))
    settings: dict[str, Any] = {
        "POLICIES_ROOT": str(policies),
        "MODELS_ROOT": str(models),
        "REVIEW_SAMPLE": "0",
    }
    with started(["up"], temporary, **settings) as process:
        variables = settings_printed(process)
        dropped = run("drop", "--wait", "--json", str(SAMPLE), **variables)
        assert dropped.returncode == 0, dropped.stderr
        (batch,) = json.loads(dropped.stdout)["batches"]
        assert (batch["state"], batch["moderated"]) == ("complete", True)
        items = _wait_for_items(variables)
        assert {(item["path"], item["policy"]) for item in items} == {
            (path, policy) for path in FORBIDDEN for policy in POLICIES
        }
        assert all(FORBIDDEN[item["path"]] in item["text"].casefold() for item in items)
        _review_one(variables, tmp_path)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert wait_until_gone(temporary) == []


def _wait_for_items(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """Items are made when a batch is complete, but a little later."""
    for _ in range(100):
        listed = run("review", "list", "--json", **variables)
        assert listed.returncode == 0, listed.stderr
        items: list[dict[str, Any]] = json.loads(listed.stdout)["items"]
        if items:
            return items
    raise AssertionError("there is nothing to review")


def _review_one(variables: dict[str, Any], tmp_path: Path) -> None:
    """Do as a reviewer does."""
    clip = tmp_path / "passage.ogg"
    claimed = run("review", "next", "--as", "anna", "--json", "--clip", str(clip), **variables)
    assert claimed.returncode == 0, claimed.stderr
    item = json.loads(claimed.stdout)["item"]
    other = run("review", "next", "--as", "ben", "--json", **variables)
    assert json.loads(other.stdout)["item"]["item_id"] != item["item_id"]
    seconds = len(decoded(clip.read_bytes())) / SAMPLE_RATE
    assert seconds >= item["end"] - item["start"]
    refused = run("review", "decide", item["item_id"], "uphold", "--as", "ben", **variables)
    assert (refused.returncode, "anna" in refused.stderr) == (1, True)
    decided = run("review", "decide", item["item_id"], "uphold", "--as", "anna", **variables)
    assert decided.returncode == 0, decided.stderr
    figures = json.loads(run("review", "figures", "--json", **variables).stdout)
    assert item["policy"] in json.dumps(figures)
