"""Example policies for the areas that CoPE was made for: to be copied, and made one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from consumers.errors import ConfigurationError

#: The folder with the examples.
EXAMPLES = Path(__file__).parent

_KINDS = (".md", ".toml")


def copy_examples(to: Path) -> Iterator[tuple[str, Literal["copied", "there", "kept"]]]:
    """Copy the examples into a folder, which is made; what is there is never overwritten.

    Yields:
        Each file's name, and what became of it: ``copied``, ``there`` (as it is
        here), or ``kept``: another of that name is there.

    Raises:
        ConfigurationError: The folder can't be made, or not be written to.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
        for path in sorted(EXAMPLES.iterdir()):
            if path.suffix in _KINDS:
                yield path.name, _copy(path.read_bytes(), to / path.name)
    except OSError as exc:
        raise ConfigurationError(f"the examples can't be copied to {to}: {exc.strerror}") from exc


def _copy(data: bytes, to: Path) -> Literal["copied", "there", "kept"]:
    if to.exists():
        return "there" if to.read_bytes() == data else "kept"
    # Under its own name it is whole or not there: consumers may read the folder now.
    partial = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.rename(to)
    finally:
        partial.unlink(missing_ok=True)
    return "copied"
