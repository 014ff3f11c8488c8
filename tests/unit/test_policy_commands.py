"""`dropscribe policy` where no model is at hand: on the machine of whoever writes policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from consumers.errors import ConfigurationError
from consumers.policy.policy import read_policies
from ops.cli.commands.policy import policy
from ops.policies import EXAMPLES

NAMES = ["harassment", "hate", "self-harm", "sexual", "violence"]


def run(*arguments: object, **variables: str) -> Result:
    return CliRunner().invoke(policy, [str(each) for each in arguments], env=variables)


def printed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_examples_are_valid_and_unmeasured_without_a_model(
    tmp_path: Path,
) -> None:
    result = run("check", EXAMPLES / "hate.md", EXAMPLES / "sexual.md", MODELS_ROOT=str(tmp_path))
    assert result.exit_code == 0
    first, second, last = result.stdout.splitlines()
    assert "labels DH SL EX IP, fine" in first
    assert "labels SE SO MI SV, fine" in second
    assert last.startswith("The lengths were not counted: ")


def test_an_error_in_any_file_is_told_by_its_line_and_by_the_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "spam.md"
    file.write_text("# Policy\n\n## Overview\n\nCONTENT\n=======\n")
    (tmp_path / "BAD.md").write_text("x")
    result = run("check", "--structure-only", EXAMPLES / "hate.md", file, tmp_path / "BAD.md")
    assert result.exit_code == 1
    assert f"{file}: 6 words, no labels, errors 4, remarks 0" in result.stdout
    assert "  line 5: error: `CONTENT` over a line of =" in result.stdout
    assert "BAD.md has no valid policy name" in result.stdout


def test_lines_are_those_of_the_file_also_after_blank_ones(tmp_path: Path) -> None:
    file = tmp_path / "spam.md"
    file.write_text("\n\n\n" + (EXAMPLES / "hate.md").read_text() + "\n<eos>\n")
    result = run("check", "--structure-only", "--json", file)
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert not answer["fine"]
    (problem,) = answer["policies"][0]["problems"]
    lines = file.read_text().split("\n")
    assert lines[problem["line"] - 1] == "<eos>"
    assert (answer["uncounted"], answer["policies"][0]["tokens"]) == ("--structure-only", None)


def test_a_wrong_setting_is_an_error_not_a_length_that_is_not_counted() -> None:
    result = run("check", EXAMPLES / "hate.md", POLICY_DEVICE="abacus")
    assert isinstance(result.exception, ConfigurationError)
    assert "POLICY_DEVICE" in str(result.exception)


def test_a_score_is_never_made_up_where_there_is_no_model(tmp_path: Path) -> None:
    result = run("try", EXAMPLES / "hate.md", "Good morning.", MODELS_ROOT=str(tmp_path))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.exception is not None
    assert not isinstance(result.exception, SystemExit)


def test_an_empty_text_is_not_judged() -> None:
    assert run("try", EXAMPLES / "hate.md", " \n").exit_code == 2


def test_the_list_shows_what_is_used(tmp_path: Path) -> None:
    (tmp_path / "spam.md").write_text((EXAMPLES / "hate.md").read_text())
    (tmp_path / "thresholds.toml").write_text("spam = 0.25\n")
    answer = printed(run("list", "--json", POLICIES_ROOT=str(tmp_path)))
    (row,) = answer["policies"]
    (policy_,) = read_policies(tmp_path)
    assert (row["name"], row["version"], row["threshold"]) == ("spam", policy_.version, 0.25)
    assert [label["code"] for label in row["labels"]] == ["DH", "SL", "EX", "IP"]


def test_without_policies_the_list_says_that_nothing_is_moderated() -> None:
    result = run("list", POLICIES_ROOT="")
    assert isinstance(result.exception, ConfigurationError)
    assert "not moderated" in str(result.exception)


def test_the_examples_can_be_listed_and_copied_and_then_are_one_s_own(tmp_path: Path) -> None:
    assert [
        row["name"] for row in printed(run("list", "--examples", "--json"))["policies"]
    ] == NAMES
    to = tmp_path / "new" / "policies"
    copied = printed(run("examples", "--to", to, "--json"))["files"]
    assert copied == {f"{name}.md": "copied" for name in NAMES} | {"thresholds.toml": "copied"}
    assert read_policies(to) == read_policies(EXAMPLES)
    assert sorted(path.name for path in to.iterdir()) == sorted(copied)


def test_copying_again_overwrites_nothing(tmp_path: Path) -> None:
    run("examples", "--to", tmp_path)
    (tmp_path / "hate.md").write_text("Mine.")
    (tmp_path / "sexual.md").unlink()
    again = printed(run("examples", "--to", tmp_path, "--json"))["files"]
    assert (again["hate.md"], again["sexual.md"], again["violence.md"]) == (
        "kept",
        "copied",
        "there",
    )
    assert (tmp_path / "hate.md").read_text() == "Mine."


def test_an_impossible_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("examples", "--to", tmp_path / "file" / "policies")
    assert isinstance(result.exception, ConfigurationError)


@pytest.mark.parametrize("command", [[], ["check"], ["try"], ["list"], ["examples"]])
def test_every_command_has_help(command: list[str]) -> None:
    assert "Usage:" in run(*command, "--help").stdout
