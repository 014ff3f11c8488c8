"""Content policies, read from a folder: a Markdown file for each, and ``thresholds.toml``."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from consumers.errors import ConfigurationError

#: The least score that flags, unless ``thresholds.toml`` says another.
DEFAULT_THRESHOLD = 0.5

THRESHOLDS = "thresholds.toml"

#: What a policy can be called: keys and rows hold it, and people type it.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


#: Hexadecimal digits of a version.
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy.

    Attributes:
        name: What people call it; its file's name without ``.md``.
        text: Markdown, as the model reads it.
        threshold: The least score (0 to 1) that flags a window.
    """

    name: str
    text: str
    threshold: float

    @property
    def version(self) -> str:
        """What tells this text from any other of the same name: a hash of it."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:_DIGITS]


def read_policies(root: Path) -> tuple[Policy, ...]:
    """Read all policies of a folder: its ``*.md``, but for hidden files.

    Returns:
        At least one, by name.

    Raises:
        ConfigurationError: There is none, or one can't be read, or a threshold can't be.
    """
    if not root.is_dir():
        raise ConfigurationError(f"{root} is not a folder of policies: there is no such folder")
    try:
        paths = sorted(path for path in root.glob("*.md") if not path.name.startswith("."))
    except OSError as exc:
        raise ConfigurationError(f"the folder {root} can't be read: {exc.strerror}") from exc
    if not paths:
        raise ConfigurationError(
            f"there are no policies in {root}: it needs at least one file whose name ends in .md "
            "(`dropscribe policy examples --to FOLDER` copies some to begin with)"
        )
    thresholds = _read_thresholds(root / THRESHOLDS)
    policies = tuple(_read(path, thresholds) for path in paths)
    for name in thresholds.keys() - {policy.name for policy in policies}:
        raise ConfigurationError(
            f"{root / THRESHOLDS} has a threshold for {name!r}, but there is no {name}.md beside it"
        )
    return policies


def read_policy(path: Path) -> Policy:
    """Read one policy, with its threshold from the ``thresholds.toml`` beside it.

    Raises:
        ConfigurationError: It can't be read, or the threshold can't be.
    """
    return _read(path, _read_thresholds(path.parent / THRESHOLDS))


def _read(path: Path, thresholds: Mapping[str, float]) -> Policy:
    name = path.stem
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{path} can't be a policy: its name has to be of lower case letters (a to z), digits "
            "and hyphens, at most 63, and not begin with a hyphen"
        )
    # The prompt has blank lines of its own around a policy.
    text = read_text(path).strip()
    if not text:
        raise ConfigurationError(f"the policy {path} is empty")
    return Policy(name, text, thresholds.get(name, DEFAULT_THRESHOLD))


def _read_thresholds(path: Path) -> dict[str, float]:
    """Read the thresholds by the policies' names; none where there is no such file."""
    if not path.exists():
        return {}
    try:
        document = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(f"{path} can't be read as TOML: {exc}") from exc
    return {name: _threshold(path, name, value) for name, value in document.items()}


def _threshold(path: Path, name: str, value: object) -> float:
    # To Python, true is a number, too; what is not a number is not within any two.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigurationError(f"{path}: {name} = {value!r} is not a number from 0 to 1")
    return float(value)


def read_text(path: Path) -> str:
    """Read UTF-8 without its byte order mark, all ends of lines as a line feed.

    Raises:
        ConfigurationError: It is no file, can't be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigurationError(f"{path} can't be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ConfigurationError(f"{path} can't be read: it is no text in UTF-8") from exc
