"""The staged files with their ledger, and a file that is being staged."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from consumers.errors import ConfigurationError, TransientError
from ops.ingest.transfer import tar
from ops.ingest.transfer.ledger import Ledger, Shipment, ShipmentState

_BLOCK = 1 << 20

#: Seconds after which a shipment is abandoned whose source was not named again.
_KEPT = 14 * 86400.0


@dataclass(frozen=True, slots=True)
class Staging:
    """The ledger and the staged files.

    Attributes:
        root: Their folder, which one run at a time uses.
        reserve: Bytes that have to stay free on its disk.
        ledger: The ledger.
    """

    root: Path
    reserve: int
    ledger: Ledger

    def path(self, shipment: Shipment) -> Path:
        """The staged file of a shipment; its name is only a number."""
        return self.root / f"{shipment.number}.staged"

    def size(self, shipment: Shipment) -> int:
        """Bytes of a shipment's archive, once it is whole."""
        members = self.ledger.members(shipment)
        if not shipment.is_pack:
            return sum(member.file.size for member in members)
        packed = (tar.packed_size(member.name, member.file.size) for member in members)
        return sum(packed, len(tar.TRAILER))

    def remove(self, shipment: Shipment) -> None:
        """Remove the staged file of a shipment, if there is one.

        Raises:
            TransientError: The file cannot be removed.
        """
        path = self.path(shipment)
        with translated(path):
            path.unlink(missing_ok=True)

    def forget(self, shipment: Shipment) -> None:
        """Abandon a shipment that is not staged; its files are new again."""
        self.ledger.forget(shipment)
        self.remove(shipment)

    def tidy(self, now: datetime) -> None:
        """Abandon old shipments, and remove files that killed runs have left behind."""
        for shipment in self.ledger.in_state(ShipmentState.STAGING):
            path = self.path(shipment)
            with translated(path), suppress(FileNotFoundError):
                if now.timestamp() - path.stat().st_mtime > _KEPT:
                    self.ledger.forget(shipment)
        unsent = {
            shipment.number
            for state in (ShipmentState.STAGING, ShipmentState.STAGED)
            for shipment in self.ledger.in_state(state)
        }
        with translated(self.root):
            for path in self.root.glob("*.staged"):
                if path.stem.isdecimal() and int(path.stem) not in unsent:
                    path.unlink(missing_ok=True)

    def require_room(self, shipment: Shipment, size: int) -> None:
        """Make sure that the disk has room for the rest of a file of ``size`` bytes.

        Raises:
            TransientError: There is no room, or free space cannot be measured.
        """
        path = self.path(shipment)
        with translated(self.root):
            missing = size - (path.stat().st_size if path.exists() else 0)
            free = shutil.disk_usage(self.root).free
        if missing > 0 and free - self.reserve < missing:
            raise TransientError(
                f"{self.root} has no room: {missing / 1e9:.1f} GB are needed, and "
                f"{max(0, free - self.reserve) / 1e9:.1f} GB are available (make room, or set "
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


@contextmanager
def open_staging(root: Path, reserve: int) -> Iterator[Staging | None]:
    """Lock the folder while the block runs; None if another run has locked it.

    Raises:
        ConfigurationError: The folder cannot be made or written to.
        TransientError: The ledger cannot be used.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise ConfigurationError(f"TRANSFER_ROOT={root}: {exc.strerror}") from exc
    try:
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ConfigurationError(f"TRANSFER_ROOT={root} is not writable: {exc.strerror}") from exc
    try:
        # The lock ends with the process, however that ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
    else:
        with Ledger(root / "ledger.sqlite3") as ledger:
            yield Staging(root, reserve, ledger)
    finally:
        os.close(descriptor)


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

    def checkpoint(self) -> tuple[int, Any]:
        """Return the present position, with the hash up to there."""
        return self.position, self._whole.copy()

    def go_back(self, checkpoint: tuple[int, Any]) -> None:
        """Go back to a position, and cut off the rest."""
        self.position, whole = checkpoint
        self._whole = whole.copy()
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
