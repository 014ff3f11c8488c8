"""Policies are files that people write; what is wrong with one is said by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers.errors import ConfigurationError
from consumers.policy.policy import Policy, read_policies, read_policy


def write(root: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        stem, _, kind = name.rpartition("_")
        (root / f"{stem.replace('_', '-')}.{kind}").write_bytes(data)
    return root


def test_each_markdown_file_is_a_policy_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, spam_md="No spam.", hate_md="No hate.", notes_txt="", thresholds_toml="")
    assert read_policies(tmp_path) == (
        Policy("hate", "No hate.", 0.5),
        Policy("spam", "No spam.", 0.5),
    )


def test_a_threshold_is_a_line_of_a_file_beside_them(tmp_path: Path) -> None:
    write(tmp_path, self_harm_md="s", hate_md="h", thresholds_toml="self-harm = 0.25 # see more\n")
    assert [each.threshold for each in read_policies(tmp_path)] == [0.5, 0.25]
    assert read_policy(tmp_path / "self-harm.md").threshold == 0.25


def test_the_way_an_editor_saves_a_policy_does_not_change_its_version(tmp_path: Path) -> None:
    texts = [b"# Policy\n\nx", b"# Policy\n\nx\n\n", b"\xef\xbb\xbf# Policy\r\n\r\nx\r\n"]
    versions = set()
    for text in texts:
        write(tmp_path, spam_md=text)
        versions.add(read_policies(tmp_path)[0].version)
    assert len(versions) == 1


def test_an_editor_s_hidden_files_are_no_policies(tmp_path: Path) -> None:
    write(tmp_path, spam_md="No spam.")
    (tmp_path / ".#spam.md").write_text("half of it")
    assert [each.name for each in read_policies(tmp_path)] == ["spam"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no policies"),
        ({"notes_txt": "x"}, "no policies"),
        ({"spam_md": ""}, r"spam\.md is empty"),
        ({"spam_md": " \n\t\n"}, r"spam\.md is empty"),
        ({"spam_md": b"caf\xe9"}, r"cannot read .*spam\.md: it is not UTF-8 text"),
        ({"Spam_md": "x"}, r"Spam\.md has no valid policy name"),
        ({"_spam_md": "x"}, r"-spam\.md has no valid policy name"),
        ({"a" * 64 + "_md": "x"}, "up to 63"),
        ({"spam_md": "x", "thresholds_toml": "spam = "}, r"thresholds\.toml is not valid TOML"),
        ({"spam_md": "x", "thresholds_toml": "spam = 1.5"}, "spam = 1.5 is not a number from 0"),
        ({"spam_md": "x", "thresholds_toml": "spam = -0.1"}, "spam = -0.1 is not a number"),
        ({"spam_md": "x", "thresholds_toml": "spam = nan"}, "spam = nan is not a number"),
        ({"spam_md": "x", "thresholds_toml": "spam = true"}, "spam = True is not a number"),
        ({"spam_md": "x", "thresholds_toml": "spam = '0.5'"}, "spam = '0.5' is not a number"),
        ({"spam_md": "x", "thresholds_toml": "ham = 0.5"}, r"'ham', but there is no ham\.md"),
        ({"spam_md": "x", "thresholds_toml": b"\xff"}, r"cannot read .*thresholds\.toml"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, files: dict[str, str | bytes], message: str) -> None:
    write(tmp_path, **files)
    with pytest.raises(ConfigurationError, match=message):
        read_policies(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(ConfigurationError, match="not a folder of policies"):
            read_policies(path)


def test_a_folder_in_a_policy_s_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "spam.md").mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot read .*spam\.md: Is a directory"):
        read_policies(tmp_path)


def test_no_message_quotes_a_policy(tmp_path: Path) -> None:
    write(tmp_path, spam_md=b"secret wording \xff")
    with pytest.raises(ConfigurationError) as caught:
        read_policies(tmp_path)
    assert "secret" not in str(caught.value)
