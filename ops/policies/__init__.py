"""Example policies for the areas that CoPE was made for, as a start for the operator's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from consumers.errors import ConfigurationError

EXAMPLES = Path(__file__).parent

_KINDS = (".md", ".toml")


def copy_examples(to: Path) -> Iterator[tuple[str, Literal["copied", "there", "kept"]]]:
    """Copy the examples into a folder, created if missing, without overwriting any file.

    Yields:
        Each file's name and result: ``copied``, ``there`` (it already has this content), or
        ``kept`` (it has other content).

    Raises:
        ConfigurationError: The folder cannot be created or written to.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
        for path in sorted(EXAMPLES.iterdir()):
            if path.suffix in _KINDS:
                yield path.name, _copy(path.read_bytes(), to / path.name)
    except OSError as exc:
        raise ConfigurationError(f"cannot copy the examples to {to}: {exc.strerror}") from exc


def _copy(data: bytes, to: Path) -> Literal["copied", "there", "kept"]:
    if to.exists():
        return "there" if to.read_bytes() == data else "kept"
    # Atomically, as consumers may be reading the folder.
    partial = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.rename(to)
    finally:
        partial.unlink(missing_ok=True)
    return "copied"
