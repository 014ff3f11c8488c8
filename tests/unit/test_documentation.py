"""Links in the documentation lead somewhere, and the commands that it names exist."""

from __future__ import annotations

import configparser
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from ops.cli.main import main
from ops.wiring import settings

ROOT = Path(__file__).parents[2]

#: Folders of tools, and of what they build.
_BUILT = re.compile(r"\.(?!ci)|build$|dist$|__pycache__$|.*\.egg-info$")

_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)

#: ``dropscribe`` where a command begins, and the words that follow.
_COMMAND = re.compile(r"(?:^|&& |; |\| )\s*(?:[A-Z_]+=\S* )*(?:\S*/)?dropscribe +(\S.*)")
#: Another command, or a comment.
_END = re.compile(r"\s(?:&&|\||#|>)\s|;\s")
_OPTION = re.compile(r"--?[a-z][a-z-]*")
#: A file or folder of the project, not of its installed packages' or of hosts'.
_PATH = re.compile(r"(?:events|consumers|ops|tests|docs)/[\w./*-]*")
_MODULE = re.compile(r"python\S* -m ((?:ops|consumers|events|tests)[\w.]*)")
_TOX = re.compile(r"\btox -e ([a-z0-9,]+)")
_VARIABLE = re.compile(r"(?<![\w/.])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?==|$)")

#: Variables of other programs, of tests, and placeholders.
_FOREIGN = {"AUDIO_ID", "MINIO_BIN", "NAME_FILE", "O_TMPFILE", "RUSTFS_NOTIFY_ENABLE"}


def documents() -> list[Path]:
    """Find the project's Markdown files."""
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not any(_BUILT.match(part) for part in path.relative_to(ROOT).parts)
    )


DOCUMENTS = pytest.mark.parametrize(
    "document", documents(), ids=lambda path: str(path.relative_to(ROOT))
)


def prose(document: Path) -> str:
    """Give a document without its blocks of code."""
    return _FENCED.sub("", document.read_text(encoding="utf-8"))


def anchors(document: Path) -> set[str]:
    """Give the anchors that GitHub makes of a document's headings."""
    seen: dict[str, int] = {}
    found = set()
    for heading in _HEADING.findall(prose(document)):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found


def code(document: Path) -> Iterator[str]:
    """Give a document's lines of shell, continued lines joined, and its words in code type."""
    text = document.read_text(encoding="utf-8")
    for _, language, block in _FENCED.findall(text):
        if language in {"sh", "console", "bash"}:
            yield from block.replace("\\\n", " ").splitlines()
    for words in _INLINE.findall(prose(document)):
        yield " ".join(words.split())


def command_lines(document: Path) -> Iterator[list[str]]:
    """Give what follows ``dropscribe`` wherever a document names a command of it."""
    for line in code(document):
        for rest in _COMMAND.findall(line):
            end = _END.search(rest)
            yield shlex.split(rest[: end.start()] if end else rest)


@DOCUMENTS
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for link in _LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{link} leads to no file"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        if anchor:
            assert anchor in anchors(target), f"{link} leads to no heading"


@DOCUMENTS
def test_commands_and_their_options_exist(document: Path) -> None:
    for words in command_lines(document):
        for command, options in named(words):
            known = {name for each in command.params for name in each.opts} | {"--help", "-h"}
            shown = f"dropscribe {' '.join(words)}"
            assert set(options) <= known, f"{shown}: {command.name} has no such option"


def named(words: list[str]) -> list[tuple[click.Command, list[str]]]:
    """Give the commands that words name, each with its options: ``dead list|show`` names two."""
    commands: list[click.Command] = [main]
    rest = list(words)
    while rest and isinstance(group := commands[0], click.Group) and rest[0].islower():
        if rest[0].startswith("-"):
            break
        context = click.Context(group, info_name=group.name)
        found = [group.get_command(context, name) for name in rest.pop(0).split("|")]
        commands = [command for command in found if command is not None]
        assert len(commands) == len(found), f"dropscribe {' '.join(words)}: no such command"
    options = [word.partition("=")[0] for word in rest if _OPTION.match(word)]
    return [(command, options) for command in commands]


@DOCUMENTS
def test_modules_and_test_environments_exist(document: Path) -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    listed = set(re.findall(r"\w+", tox["tox"]["env_list"]))
    for line in code(document):
        for module in _MODULE.findall(line):
            assert importlib.util.find_spec(module) is not None, f"no module {module}"
        for names in _TOX.findall(line):
            for name in names.split(","):
                assert name in listed or f"testenv:{name}" in tox, f"no environment {name}"


@DOCUMENTS
def test_named_files_exist(document: Path) -> None:
    for words in _INLINE.findall(prose(document)):
        if _PATH.fullmatch(words):
            assert any(ROOT.glob(words.rstrip("/"))), f"no file {words}"


@DOCUMENTS
def test_named_settings_exist(document: Path) -> None:
    if document.name == "RESULTS.md":
        return
    known = {variable.name for each in declared() for variable in each.variables()}
    known |= {f"{variable.name}_FILE" for each in declared() for variable in each.variables()}
    for words in code(document):
        assert set(_VARIABLE.findall(words)) <= known | _FOREIGN, words


def declared() -> list[type[settings.Settings]]:
    """Find all groups of settings."""
    found = [each for each in vars(settings).values() if isinstance(each, type)]
    return [each for each in found if issubclass(each, settings.Settings)]


def test_the_documents_are_found_and_read() -> None:
    names = {str(path.relative_to(ROOT)) for path in documents()}
    assert {"README.md", "CHANGELOG.md", "ops/README.md"} <= names
    assert sum(1 for path in documents() for _ in command_lines(path)) > 50
    assert "stuckbatch" in anchors(ROOT / "ops/README.md")
    inline = [words for path in documents() for words in _INLINE.findall(prose(path))]
    assert sum(1 for words in inline if _PATH.fullmatch(words)) > 25
    assert sum(len(_LINK.findall(prose(path))) for path in documents()) > 100
    lines = [line for path in documents() for line in code(path)]
    for form, least in ((_MODULE, 1), (_TOX, 3), (_VARIABLE, 80)):
        assert sum(len(form.findall(line)) for line in lines) >= least, form.pattern


def test_a_command_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(AssertionError, match="no such command"):
        named(["dead", "bury"])
    assert named(["dead", "list|show", "--json"])[1][1] == ["--json"]
