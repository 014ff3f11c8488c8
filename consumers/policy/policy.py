"""Content policies, read from a folder: a Markdown file for each, and ``thresholds.toml``."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from consumers.errors import ConfigurationError

#: The least score that flags, for policies not in ``thresholds.toml``.
DEFAULT_THRESHOLD = 0.5

THRESHOLDS = "thresholds.toml"

#: A policy's name, which is part of keys and rows.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

#: Hexadecimal digits of a version.
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy.

    Attributes:
        name: Its file's name without ``.md``.
        text: Markdown, passed to the model as it is.
        threshold: The least score (0 to 1) that flags a window.
    """

    name: str
    text: str
    threshold: float

    @property
    def version(self) -> str:
        """A hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:_DIGITS]


def read_policies(root: Path) -> tuple[Policy, ...]:
    """Read all policies of a folder, its ``*.md`` but hidden files, in the order of their names.

    Raises:
        ConfigurationError: There is none, or a policy or threshold is unreadable or invalid.
    """
    if not root.is_dir():
        raise ConfigurationError(f"{root} is not a folder of policies: there is no such folder")
    try:
        paths = sorted(path for path in root.glob("*.md") if not path.name.startswith("."))
    except OSError as exc:
        raise ConfigurationError(f"cannot read the folder {root}: {exc.strerror}") from exc
    if not paths:
        raise ConfigurationError(
            f"there are no policies in {root}: it needs at least one file whose name ends in .md "
            "(`dropscribe policy examples --to FOLDER` copies some)"
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
        ConfigurationError: It or the threshold is unreadable or invalid.
    """
    return _read(path, _read_thresholds(path.parent / THRESHOLDS))


def _read(path: Path, thresholds: Mapping[str, float]) -> Policy:
    name = path.stem
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{path} has no valid policy name: use up to 63 lower case letters (a to z), digits "
            "and hyphens, and do not begin with a hyphen"
        )
    # The prompt adds its own blank lines around a policy.
    text = read_text(path).strip()
    if not text:
        raise ConfigurationError(f"the policy {path} is empty")
    return Policy(name, text, thresholds.get(name, DEFAULT_THRESHOLD))


def _read_thresholds(path: Path) -> dict[str, float]:
    """Read the thresholds by policy name; none without the file."""
    if not path.exists():
        return {}
    try:
        document = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(f"{path} is not valid TOML: {exc}") from exc
    return {name: _threshold(path, name, value) for name, value in document.items()}


def _threshold(path: Path, name: str, value: object) -> float:
    # In Python, true is a number; NaN fails the comparison.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigurationError(f"{path}: {name} = {value!r} is not a number from 0 to 1")
    return float(value)


def read_text(path: Path) -> str:
    """Read UTF-8 without a byte order mark, and with line feeds as line ends.

    Raises:
        ConfigurationError: It is unreadable, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise ConfigurationError(f"cannot read {path}: it is not UTF-8 text") from exc
