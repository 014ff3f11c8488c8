"""Reading an object from its start, over several connections if need be."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from consumers.errors import TransientError
from consumers.store.errors import CutShortError
from consumers.store.objects import StoredObject

#: The most attempts in a row to resume a download that broke off.
_RESUMES = 5

#: Seconds to wait before each.
_RESUME_PAUSE = 1.0


def again(read: Callable[[], bytes]) -> bytes:
    """Read a small object, and again if the response was incomplete."""
    for _ in range(_RESUMES):
        try:
            return read()
        except CutShortError:
            time.sleep(_RESUME_PAUSE)
    return read()


class Download(io.RawIOBase):
    """A forward-only file of one object, which resumes when a connection breaks.

    Args:
        open_range: Opens a download at a byte, and returns botocore's response body.
        stored: The object.
        translated: Translates the errors of each read.
    """

    def __init__(
        self,
        open_range: Callable[[StoredObject, int], Any],
        stored: StoredObject,
        translated: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._open_range = open_range
        self._stored = stored
        self._translated = translated
        self._position = 0
        self._resumes = 0
        self._body: Any = None

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes; `TransientError` once too many attempts failed in a row."""
        while self._position < self._stored.size:
            try:
                chunk = self._read(len(buffer))
            except TransientError:
                self._drop()
                self._resumes += 1
                if self._resumes > _RESUMES:
                    raise
                time.sleep(_RESUME_PAUSE)
                continue
            self._resumes = 0
            self._position += len(chunk)
            buffer[: len(chunk)] = chunk
            return len(chunk)
        return 0

    def _read(self, size: int) -> bytes:
        if self._body is None:
            self._body = self._open_range(self._stored, self._position)
        with self._translated(self._stored.key):
            chunk: bytes = self._body.read(size)
            if not chunk:
                raise TransientError(f"{self._stored.key}: the store ended the download early")
        return chunk

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        """See `io.IOBase`."""
        self._drop()
        super().close()
