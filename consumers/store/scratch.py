"""Scratch space: files without names, gone with the process that opened them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from consumers.errors import TransientError


class Scratch:
    """Where members and their Opus lie while they are worked on.

    A file never has a name there (`O_TMPFILE`): nothing hostile can choose
    one, and nothing stays behind, not even after a SIGKILL.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def file(self) -> Iterator[IO[bytes]]:
        """Lend an empty file.

        Raises:
            TransientError: The disk is full, or the folder is not there.
        """
        try:
            with tempfile.TemporaryFile(dir=self._root) as file:
                yield file
        except OSError as exc:
            raise TransientError(f"scratch ({self._root}): {exc.strerror or exc}") from exc
