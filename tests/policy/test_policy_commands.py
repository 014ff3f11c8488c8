"""`dropscribe policy` with a model at hand: a tiny Gemma-2 that knows a forbidden word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ops.cli.commands.policy import policy
from ops.policies import EXAMPLES
from tests.policy.tiny import judging_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    judging_model(root, "lemons")
    return root


@pytest.fixture
def hate(tmp_path: Path) -> Path:
    """A policy with a threshold of its own."""
    (tmp_path / "thresholds.toml").write_text("hate = 0.7\n")
    path = tmp_path / "hate.md"
    path.write_text((EXAMPLES / "hate.md").read_text())
    return path


def run(models: Path, *arguments: object, context: int = 8192, text: str = "") -> Any:
    """Give the exit code, and the JSON that is printed."""
    result = CliRunner().invoke(
        policy,
        [*(str(each) for each in arguments), "--json"],
        env={
            "MODELS_ROOT": str(models),
            "POLICY_DEVICE": "cpu",
            "POLICY_CONTEXT": str(context),
        },
        input=text,
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, json.loads(result.stdout)


def test_forbidden_content_is_flagged(models: Path, hate: Path) -> None:
    code, answer = run(models, "try", hate, "Squeeze the lemons, all of them.")
    assert code == 0
    assert answer["score"] > 0.7
    assert (answer["flagged"], answer["threshold"]) == (True, 0.7)
    assert (answer["model"], answer["adapter"]) == ("gemma-2-9b", "cope-a-9b")


def test_other_words_are_not(models: Path, hate: Path) -> None:
    _, answer = run(models, "try", hate, "-", text="Good morning,\neveryone.\n")
    assert answer["score"] < 0.5
    assert not answer["flagged"]


def test_a_text_that_is_longer_than_the_context_is_judged_in_parts(
    models: Path, hate: Path
) -> None:
    (counted,) = run(models, "check", hate)[1]["policies"]
    text = "good morning everyone " * 60 + "lemons"
    _, answer = run(models, "try", hate, "-", text=text, context=counted["tokens"] + 100)
    assert len(answer["parts"]) > 2
    assert answer["parts"][0] < 0.5
    assert answer["score"] == max(answer["parts"]) == answer["parts"][-1] > 0.7


def test_the_length_is_counted_in_the_model_s_tokens(models: Path, hate: Path) -> None:
    code, answer = run(models, "check", hate)
    (row,) = answer["policies"]
    assert (code, answer["fine"], answer["uncounted"]) == (0, True, None)
    assert row["context"] == 8192
    assert row["room"] == 8192 - row["tokens"]
    assert row["problems"] == []


@pytest.mark.parametrize(
    ("room", "code", "nature", "message"),
    [
        (-1, 1, "error", "leaves too few for the transcript: shorten it"),
        (63, 1, "error", "leaves too few for the transcript: shorten it"),
        (64, 0, "remark", "leaves 64: long passages are judged in parts"),
    ],
)
def test_a_policy_that_leaves_too_little_of_the_context_is_told(
    models: Path, hate: Path, room: int, code: int, nature: str, message: str
) -> None:
    tokens = run(models, "check", hate)[1]["policies"][0]["tokens"]
    found, answer = run(models, "check", hate, context=tokens + room)
    (problem,) = answer["policies"][0]["problems"]
    assert (found, problem["nature"]) == (code, nature)
    assert message in problem["message"]
