"""A dropped archive: its key, the batch that it stands for, and its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from consumers.database.rows import Archive
from consumers.errors import PermanentError
from consumers.store import Store, StoredObject
from events.event import ObjectCreated
from events.keys import ArchiveKey, BatchId, MalformedKeyError, parse_key


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """An archive's bytes, in the store."""

    store: Store
    stored: StoredObject

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stored.size

    def stream(self) -> BinaryIO:
        """Read from the start."""
        return self.store.stream(self.stored)

    def read_range(self, start: int, length: int) -> bytes:
        """Read a part."""
        return self.store.read_range(self.stored, start, length)


def identify(key: ArchiveKey, stored: StoredObject) -> BatchId:
    """Give the batch that an archive stands for: from its name, or from what HEAD says."""
    if key.batch is not None:
        return key.batch
    return BatchId.derived(stored.last_modified, stored.key, stored.etag)


def describe(key: ArchiveKey, stored: StoredObject) -> Archive:
    """Give the batch's row, from what HEAD says."""
    return Archive(
        batch=identify(key, stored),
        key=stored.key,
        etag=stored.etag,
        size=stored.size,
        original_name=stored.metadata.get("original-name") or PurePosixPath(stored.key).name,
        dropped_at=stored.last_modified,
    )


def archive_key(event: ObjectCreated) -> ArchiveKey:
    """Give the key of the archive that an event is about.

    Raises:
        PermanentError: It is about something else.
    """
    try:
        key = parse_key(event.key)
    except MalformedKeyError as exc:
        raise PermanentError(str(exc)) from exc
    if not isinstance(key, ArchiveKey):
        raise PermanentError(f"{event.key} is no archive's key")
    return key
