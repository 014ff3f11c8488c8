"""The ledger: an SQLite file beside the staged files, so that it needs no access to the pipeline.

Each row is on disk before the step that it describes begins. A shipment is uploaded as one
archive: an archive file, or a pack of loose files. Its batch id is recorded when it begins,
so a repeated upload writes the same object.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from consumers.errors import TransientError
from events.keys import BatchId
from ops.ingest.transfer.source import FileVersion

_SCHEMA = """
PRAGMA foreign_keys = ON;
-- Rows have to survive a power cut.
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS shipments (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    batch     TEXT NOT NULL UNIQUE,
    host      TEXT NOT NULL,
    path      BLOB NOT NULL,
    is_pack   INTEGER NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('staging', 'staged', 'sent')),
    size      INTEGER,
    sha256    TEXT,
    part_size INTEGER,
    upload_id TEXT,
    etag      TEXT,
    began_at  TEXT NOT NULL,
    sent_at   TEXT,
    CHECK (state = 'staging' OR (size IS NOT NULL AND sha256 IS NOT NULL)),
    CHECK (state <> 'sent' OR etag IS NOT NULL)
);
CREATE INDEX IF NOT EXISTS shipments_open ON shipments (state) WHERE state <> 'sent';
CREATE TABLE IF NOT EXISTS files (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    shipment INTEGER NOT NULL REFERENCES shipments ON DELETE CASCADE,
    host     TEXT NOT NULL,
    path     BLOB NOT NULL,
    size     INTEGER NOT NULL,
    mtime    INTEGER NOT NULL,
    name     BLOB NOT NULL,
    sha256   TEXT,
    -- Another file of the shipment has the same content.
    is_copy  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (host, path, size, mtime)
);
CREATE INDEX IF NOT EXISTS files_of ON files (shipment);
CREATE INDEX IF NOT EXISTS files_content ON files (sha256, size);
"""

_SHIPMENT = "id, batch, host, path, is_pack, state, size, sha256, part_size, upload_id, etag"


class ShipmentState(StrEnum):
    """The state of a shipment, which moves forward only.

    The exception is a staged file that is found damaged, which starts over as another batch.
    """

    #: Being read into a file here.
    STAGING = "staging"
    #: Here, whole and verified.
    STAGED = "staged"
    #: Confirmed by the store.
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class ShipmentFile:
    """A file in a shipment.

    Attributes:
        number: Its number in the ledger.
        file: The file.
        name: Its name in the archive, if the shipment is a pack.
        sha256: SHA-256 in hex, as computed on its own machine; None until then.
    """

    number: int
    file: FileVersion
    name: bytes
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Shipment:
    """An archive on its way from another machine to the store.

    Attributes:
        number: Its number in the ledger.
        batch: The batch that it becomes.
        host: The machine, a `Host.label`.
        path: The archive's path there, or the folder of a pack's files.
        is_pack: Whether it is packed here, of loose files.
        state: Its state.
        size: Bytes of the archive, once it is staged.
        sha256: SHA-256 of the archive in hex, once it is staged.
        part_size: Bytes per part of the upload, which decide the ETag.
        upload_id: The multipart upload in progress.
        etag: The object's expected ETag.
    """

    number: int
    batch: BatchId
    host: str
    path: bytes
    is_pack: bool
    state: ShipmentState
    size: int | None
    sha256: str | None
    part_size: int | None
    upload_id: str | None
    etag: str | None


class Ledger:
    """The ledger in a file. Safe to use from many threads of one process.

    Every method raises `TransientError` if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._reading():
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._database.executescript(_SCHEMA)
            except sqlite3.Error:
                self._database.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def begin(
        self,
        batch: BatchId,
        host: str,
        path: bytes,
        files: Iterable[tuple[FileVersion, bytes]],
        *,
        is_pack: bool,
        now: datetime,
    ) -> Shipment:
        """Begin a shipment of files, each with its name in the archive, that no other has."""
        with self._write() as database:
            cursor = database.execute(
                "INSERT INTO shipments (batch, host, path, is_pack, state, began_at)"
                " VALUES (?, ?, ?, ?, 'staging', ?)",
                (str(batch), host, path, is_pack, now.isoformat()),
            )
            database.executemany(
                "INSERT INTO files (shipment, host, path, size, mtime, name)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (cursor.lastrowid, host, file.path, file.size, file.mtime, name)
                    for file, name in files
                ],
            )
        return self.shipment(cursor.lastrowid or 0)

    def shipment(self, number: int) -> Shipment:
        """Return a shipment."""
        return self._shipments("id = ?", number)[0]

    def state(self, number: int) -> ShipmentState | None:
        """Return a shipment's state; None if it was abandoned."""
        found = self._shipments("id = ?", number)
        return found[0].state if found else None

    def find(self, host: str, file: FileVersion) -> Shipment | None:
        """Return the shipment of a file version; None for a new one."""
        found = self._shipments(
            "id = (SELECT shipment FROM files"
            " WHERE host = ? AND path = ? AND size = ? AND mtime = ?)",
            *(host, file.path, file.size, file.mtime),
        )
        return found[0] if found else None

    def in_state(self, state: ShipmentState, host: str | None = None) -> list[Shipment]:
        """Return the shipments in a state, of one host or of all, oldest first."""
        if host is None:
            return self._shipments("state = ?", state)
        return self._shipments("state = ? AND host = ?", state, host)

    def members(self, shipment: Shipment) -> list[ShipmentFile]:
        """Return the files of a shipment, in the order of its archive."""
        rows = self._rows(
            "SELECT id, path, size, mtime, name, sha256 FROM files"
            " WHERE shipment = ? AND NOT is_copy ORDER BY id",
            shipment.number,
        )
        return [
            ShipmentFile(number, FileVersion(path, size, mtime), name, sha256)
            for number, path, size, mtime, name, sha256 in rows
        ]

    def same_content(self, size: int, sha256: str) -> Shipment | None:
        """Return the staged or sent shipment with this content; None for an empty file."""
        if not size:
            return None
        found = self._shipments(
            "state <> 'staging'"
            " AND id IN (SELECT shipment FROM files WHERE sha256 = ? AND size = ?)",
            sha256,
            size,
        )
        return found[0] if found else None

    def record_hash(self, member: ShipmentFile, sha256: str) -> None:
        """Record a file's SHA-256."""
        self._change("UPDATE files SET sha256 = ? WHERE id = ?", sha256, member.number)

    def record_copy(self, member: ShipmentFile, sha256: str, shipment: Shipment) -> None:
        """Record that another shipment has the file's content."""
        self._change(
            "UPDATE files SET shipment = ?, sha256 = ?, is_copy = 1 WHERE id = ?",
            shipment.number,
            sha256,
            member.number,
        )

    def leave(self, member: ShipmentFile) -> None:
        """Remove a file from a shipment; the next run sees it as new."""
        self._change("DELETE FROM files WHERE id = ?", member.number)

    def forget(self, shipment: Shipment) -> None:
        """Abandon a shipment that is not staged; its files are new again."""
        self._change("DELETE FROM shipments WHERE id = ? AND state = 'staging'", shipment.number)

    def record_staged(
        self, shipment: Shipment, *, size: int, sha256: str, part_size: int
    ) -> Shipment:
        """Record that a shipment is staged, whole and verified."""
        staged = {"state": ShipmentState.STAGED, "size": size, "sha256": sha256}
        self._set(shipment, ShipmentState.STAGING, **staged, part_size=part_size)
        return self.shipment(shipment.number)

    def record_upload(self, shipment: Shipment, upload_id: str | None) -> None:
        """Record the multipart upload of a staged shipment."""
        self._set(shipment, ShipmentState.STAGED, upload_id=upload_id)

    def record_etag(self, shipment: Shipment, etag: str) -> None:
        """Record the object's ETag, before the object can exist."""
        self._set(shipment, ShipmentState.STAGED, etag=etag)

    def record_sent(self, shipment: Shipment, now: datetime) -> None:
        """Record that the store has confirmed a shipment."""
        sent_at = now.isoformat()
        self._set(shipment, ShipmentState.STAGED, state=ShipmentState.SENT, sent_at=sent_at)

    def restart(self, shipment: Shipment, batch: BatchId) -> None:
        """Start a staged shipment over as another batch; its copies are new again."""
        with self._write() as database:
            self._one(
                database.execute(
                    "UPDATE shipments SET state = 'staging', batch = ?, size = NULL,"
                    " sha256 = NULL, part_size = NULL, upload_id = NULL, etag = NULL"
                    " WHERE id = ? AND state = 'staged'",
                    (str(batch), shipment.number),
                )
            )
            database.execute("DELETE FROM files WHERE shipment = ? AND is_copy", (shipment.number,))

    def _shipments(self, where: str, *values: Any) -> list[Shipment]:
        # Conditions come from this module alone.
        query = f"SELECT {_SHIPMENT} FROM shipments WHERE {where} ORDER BY id"  # noqa: S608
        return [
            Shipment(number, BatchId(batch), host, path, bool(pack), ShipmentState(state), *others)
            for number, batch, host, path, pack, state, *others in self._rows(query, *values)
        ]

    def _rows(self, query: str, *values: Any) -> Sequence[Sequence[Any]]:
        with self._reading():
            return self._database.execute(query, values).fetchall()

    def _set(self, shipment: Shipment, present: ShipmentState, **columns: Any) -> None:
        """Change a shipment that is in the present state."""
        # Names of columns come from this module alone.
        changes = ", ".join(f"{name} = ?" for name in columns)
        statement = f"UPDATE shipments SET {changes} WHERE id = ? AND state = ?"  # noqa: S608
        self._change(statement, *columns.values(), shipment.number, present)

    def _change(self, statement: str, *values: Any) -> None:
        with self._write() as database:
            self._one(database.execute(statement, values))

    def _one(self, cursor: sqlite3.Cursor) -> None:
        if cursor.rowcount != 1:
            raise LookupError("the ledger has no such shipment or file in that state")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as exc:
                raise TransientError(f"the ledger {self._path} cannot be used: {exc}") from exc

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._reading():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself after some errors, such as a full disk.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
