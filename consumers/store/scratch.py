"""Scratch space: unnamed files, which vanish with the process that opened them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from consumers.errors import TransientError


class Scratch:
    """A folder for members and their Opus while they are processed.

    Its files never have a name (`O_TMPFILE`): an archive cannot choose one, and none stays
    behind, not even after a SIGKILL.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def file(self) -> Iterator[IO[bytes]]:
        """Open an empty file; `TransientError` if the disk is full, or the folder missing."""
        try:
            with tempfile.TemporaryFile(dir=self._root) as file:
                yield file
        except OSError as exc:
            raise TransientError(f"scratch ({self._root}): {exc.strerror or exc}") from exc
