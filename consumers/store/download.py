"""Reading an object from its start, over as many connections as it takes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from consumers.errors import TransientError
from consumers.store.errors import CutShortError
from consumers.store.objects import StoredObject

#: How often in a row a download that broke off is taken up again where it stopped.
_RESUMES = 5

#: Seconds to wait before that.
_RESUME_PAUSE = 1.0


def again(read: Callable[[], bytes]) -> bytes:
    """Read something small, once more where it came in part.

    Raises:
        CutShortError: It did so too often.
    """
    for _ in range(_RESUMES):
        try:
            return read()
        except CutShortError:
            time.sleep(_RESUME_PAUSE)
    return read()


class OpenRange(Protocol):
    """Begins a download at a byte."""

    def __call__(self, stored: StoredObject, start: int) -> Any:
        """Give botocore's body."""


class Download(io.RawIOBase):
    """A forward read of one object that outlives its connections.

    Args:
        open_range: Begins a download.
        stored: The object.
        translated: Stands around each read, and translates its errors.
    """

    def __init__(
        self,
        open_range: OpenRange,
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
        """Read what comes, and connect again as often as it takes.

        Raises:
            TransientError: It took too often.
        """
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
