"""Lists of sources, for timers."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from consumers.errors import ConfigurationError
from ops.ingest.transfer.source import Source, SourceError, parse_source


def read_sources(path: Path) -> list[Source]:
    """Read a list of sources.

    A file ``*.toml`` has ``sources = ["user@host:/path", ...]``. Any other has one on
    each line; empty lines, and those that begin with ``#``, count for nothing.

    Raises:
        ConfigurationError: It can't be read, or a line is no source.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"{path} can't be read: {exc.strerror}") from exc
    texts = _of_toml(path, content) if path.suffix == ".toml" else _of_lines(content)
    sources = []
    for place, text in texts:
        try:
            sources.append(parse_source(text))
        except SourceError as exc:
            raise ConfigurationError(f"{path}, {place}: {exc}") from exc
    return sources


def _of_lines(content: bytes) -> list[tuple[str, str]]:
    lines = [os.fsdecode(line.strip()) for line in content.split(b"\n")]
    return [
        (f"line {number}", line)
        for number, line in enumerate(lines, 1)
        if line and not line.startswith("#")
    ]


def _of_toml(path: Path, content: bytes) -> list[tuple[str, str]]:
    try:
        document = tomllib.loads(content.decode())
    except ValueError as exc:
        # A TOMLDecodeError, or a UnicodeDecodeError.
        raise ConfigurationError(f"{path} is no TOML: {exc}") from exc
    texts = document.get("sources")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(f'{path} has no list like sources = ["user@host:/path"]')
    return [(f"source {number}", text) for number, text in enumerate(texts, 1)]
