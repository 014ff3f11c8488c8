"""The folder of staged files, and a file that is being staged."""

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
    """The folder of staged files, which one run at a time uses.

    Args:
        root: The folder, which is created if necessary.
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
        """The ledger's file."""
        return self._root / "ledger.sqlite3"

    def path(self, shipment: Shipment) -> Path:
        """The staged file of a shipment; its name is only a number."""
        return self._root / f"{shipment.number}.staged"

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Lock the folder while the block runs; gives False if another run has locked it."""
        try:
            descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ConfigurationError(
                f"TRANSFER_ROOT={self._root} is not writable: {exc.strerror}"
            ) from exc
        try:
            # The lock ends with the process, however that ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)

    def remove(self, shipment: Shipment) -> None:
        """Remove the staged file of a shipment, if there is one.

        Raises:
            TransientError: The file cannot be removed.
        """
        path = self.path(shipment)
        with translated(path):
            path.unlink(missing_ok=True)

    def prune(self, open_shipments: set[int]) -> None:
        """Remove files that belong to no open shipment, which killed runs leave behind."""
        with translated(self._root):
            for path in self._root.glob("*.staged"):
                if path.stem.isdecimal() and int(path.stem) not in open_shipments:
                    path.unlink(missing_ok=True)

    def age(self, shipment: Shipment, now: float) -> float:
        """Return the seconds since a staged file last grew; 0 if there is none."""
        path = self.path(shipment)
        with translated(path), suppress(FileNotFoundError):
            return now - path.stat().st_mtime
        return 0.0

    def require_room(self, shipment: Shipment, size: int) -> None:
        """Make sure that the disk has room for the rest of a file of ``size`` bytes.

        Raises:
            TransientError: There is no room, or free space cannot be measured.
        """
        path = self.path(shipment)
        with translated(self._root):
            missing = size - (path.stat().st_size if path.exists() else 0)
            free = shutil.disk_usage(self._root).free
        if missing > 0 and free - self._reserve < missing:
            raise TransientError(
                f"{self._root} has no room: {missing / 1e9:.1f} GB are needed, and "
                f"{max(0, free - self._reserve) / 1e9:.1f} GB are available (make room, or set "
                "TRANSFER_ROOT to a folder on a larger disk)"
            )


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate an `OSError` of a local file into a `TransientError`."""
    try:
        yield
    except OSError as exc:
        full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
        advice = ": make room, and run it again" if full else ""
        raise TransientError(f"{path}: {exc.strerror or exc}{advice}") from exc


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A position in a partial file, with the hash up to there."""

    position: int
    whole: Any


class PartialFile:
    """A file that is being staged; bytes from an earlier run are read again, not fetched.

    It is written from start to end, and hashed up to its position. Every method raises
    `TransientError` if the disk is full or fails.
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
        """Add known bytes; other bytes that are there instead are cut off."""
        with translated(self._path):
            there = self._file.read(min(len(data), self._there - self.position))
            if there != data:
                self._cut()
                self._write(data)
            self._advance(data)

    def recall(self, most: int, digest: Any) -> int:
        """Read the bytes that are there, at most ``most``, and give their number."""
        read = 0
        with translated(self._path):
            while block := self._file.read(min(_BLOCK, most - read)):
                digest.update(block)
                self._advance(block)
                read += len(block)
        return read

    def append(self, data: bytes, digest: Any) -> None:
        """Add fetched bytes."""
        with translated(self._path):
            self._write(data)
        digest.update(data)
        self._advance(data)

    def checkpoint(self) -> Checkpoint:
        """Return the present position."""
        return Checkpoint(self.position, self._whole.copy())

    def go_back(self, mark: Checkpoint) -> None:
        """Go back to a position, and cut off the rest."""
        self.position = mark.position
        self._whole = mark.whole.copy()
        with translated(self._path):
            self._cut()

    def finish(self) -> str:
        """End the file here, sync it to disk, and give its SHA-256 in hex."""
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
