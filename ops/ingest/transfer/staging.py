"""The folder of staged files, and a file in the making."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from consumers.errors import ConfigurationError, TransientError
from ops.ingest.transfer.shipment import Shipment

_BLOCK = 1 << 20


class StagingFolder:
    """A folder that one run at a time works in.

    Args:
        root: The folder; it is made if it is not there.
        reserve: Bytes that have to stay free on its disk.
    """

    def __init__(self, root: Path, reserve: int) -> None:
        self._root = root
        self._reserve = reserve
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise ConfigurationError(f"TRANSFER_ROOT={root}: {exc.strerror}") from exc

    @property
    def ledger(self) -> Path:
        """The file of what was sent."""
        return self._root / "ledger.sqlite3"

    def path(self, shipment: Shipment) -> Path:
        """Where a shipment is staged; the name says nothing of what it is."""
        return self._root / f"{shipment.number}.staged"

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Work in the folder alone, as the block does; it gets False if another run does."""
        try:
            descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ConfigurationError(
                f"TRANSFER_ROOT={self._root} can't be written to: {exc.strerror}"
            ) from exc
        try:
            # It ends with the process, however that ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)

    def remove(self, shipment: Shipment) -> None:
        """Remove what is staged of a shipment, if anything is.

        Raises:
            TransientError: It can't be.
        """
        path = self.path(shipment)
        with translated(path):
            path.unlink(missing_ok=True)

    def prune(self, open_shipments: set[int]) -> None:
        """Remove files that belong to no shipment on its way: those of a run that was killed."""
        with translated(self._root):
            for path in self._root.glob("*.staged"):
                if path.stem.isdecimal() and int(path.stem) not in open_shipments:
                    path.unlink(missing_ok=True)

    def age(self, shipment: Shipment, now: float) -> float:
        """Say for how many seconds nothing was added to a staged file; 0 where there is none."""
        path = self.path(shipment)
        with translated(path), suppress(FileNotFoundError):
            return now - path.stat().st_mtime
        return 0.0

    def require_room(self, shipment: Shipment, size: int) -> None:
        """Make sure that so many bytes fit in, with what is there of them already.

        Raises:
            TransientError: They do not, or that can't be told.
        """
        path = self.path(shipment)
        with translated(self._root):
            missing = size - (path.stat().st_size if path.exists() else 0)
            free = shutil.disk_usage(self._root).free
        if missing > 0 and free - self._reserve < missing:
            raise TransientError(
                f"{self._root} has no room: {missing / 1e9:.1f} GB are to be staged, and "
                f"{max(0, free - self._reserve) / 1e9:.1f} GB can be (make room, or set "
                "TRANSFER_ROOT to a folder on a larger disk)"
            )


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Say by a `TransientError` what is wrong with a file here."""
    try:
        yield
    except OSError as exc:
        full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
        advice = ": make room, and run it again" if full else ""
        raise TransientError(f"{path}: {exc.strerror or exc}{advice}") from exc


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in a file in the making, to which it can be taken back."""

    position: int
    whole: Any


class PartialFile:
    """A file in the making: what is there of it already is read again, and not fetched again.

    It is made from its start to its end; ``whole`` is the SHA-256 of all up to ``position``.

    Raises:
        TransientError: By every method: the disk is full, or fails.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with translated(self._path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "r+b", buffering=0)
            self._there = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
        self.position = 0
        self._whole = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, data: bytes) -> None:
        """Add bytes that are known; what is there instead goes."""
        with translated(self._path):
            there = self._file.read(min(len(data), self._there - self.position))
            if there != data:
                self._cut()
                self._write(data)
            self._advance(data)

    def recall(self, most: int, digest: Any) -> int:
        """Read again what is there, up to so many bytes, and say how many there were."""
        read = 0
        with translated(self._path):
            while block := self._file.read(min(_BLOCK, most - read)):
                digest.update(block)
                self._advance(block)
                read += len(block)
        return read

    def append(self, data: bytes, digest: Any) -> None:
        """Add bytes that were fetched."""
        with translated(self._path):
            self._write(data)
        digest.update(data)
        self._advance(data)

    def mark(self) -> Checkpoint:
        """Note where it is."""
        return Checkpoint(self.position, self._whole.copy())

    def back(self, mark: Checkpoint) -> None:
        """Take it back to a place; what was after that goes."""
        self.position = mark.position
        self._whole = mark.whole.copy()
        with translated(self._path):
            self._cut()

    def finish(self) -> str:
        """End it here, on the disk, and give the SHA-256 of all of it in hex."""
        with translated(self._path):
            self._cut()
            os.fsync(self._file.fileno())
        return self._whole.hexdigest()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._there = max(self._there, self.position + len(data))

    def _advance(self, data: bytes) -> None:
        self._whole.update(data)
        self.position += len(data)

    def _cut(self) -> None:
        self._file.truncate(self.position)
        self._file.seek(self.position)
        self._there = self.position
