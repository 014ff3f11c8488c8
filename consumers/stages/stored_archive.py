"""A dropped archive: its key, the batch that it stands for, and its bytes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from consumers.documents.manifest import Archive
from consumers.errors import PermanentError
from consumers.store import ObjectGoneError, Store, StoredObject
from consumers.store.grants import BucketGrant
from events.event import ObjectCreated
from events.keys import ARCHIVES, ArchiveKey, BatchId, MalformedKeyError, parse_key

#: The tag of an archive whose batch is over, and its value where nothing of the
#: archive is needed any more. The bucket's lifecycle rule expires what has these.
STATE_TAG = "dropscribe"
COMPLETE = "complete"

#: The value where the archive could not be read to its end: it stays.
FAILED = "failed"

#: The tag that says which batch an archive stands for.
BATCH_TAG = "dropscribe-batch"

#: The right to read an archive, and to tag it once its batch is over.
ARCHIVES_GRANT = BucketGrant(
    "Archives",
    (
        "s3:GetObject",
        "s3:GetObjectTagging",
        "s3:PutObjectTagging",
        "s3:DeleteObjectTagging",
    ),
    (f"{ARCHIVES}*",),
)


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


def identify(store: Store, key: ArchiveKey, stored: StoredObject) -> BatchId:
    """Give the batch that an archive stands for: from its name, or from what HEAD says.

    An archive without a batch id in its name is tagged with it once its batch is
    complete: a store may count that as a modification, and HEAD says another
    time from then on.
    """
    if key.batch is not None:
        return key.batch
    try:
        return BatchId(store.tags(key.key)[BATCH_TAG])
    except (KeyError, MalformedKeyError):
        return BatchId.derived(stored.last_modified, stored.key, stored.etag)


def describe(store: Store, key: ArchiveKey, stored: StoredObject) -> Archive:
    """Give the batch's row, from what HEAD says."""
    return Archive(
        batch=identify(store, key, stored),
        key=stored.key,
        etag=stored.etag,
        size=stored.size,
        original_name=stored.metadata.get("original-name") or PurePosixPath(stored.key).name,
        dropped_at=stored.last_modified,
    )


def retire(store: Store, archive: str, etag: str, batch: BatchId, *, failed: bool) -> None:
    """Tag the archive of a batch that is over.

    Content that was stored over it since is not what the batch was made of, and
    stays as it is. Tags of others stay, too.
    """
    stored = store.head(archive)
    if stored is None or stored.etag != etag:
        return
    ours = {STATE_TAG: FAILED if failed else COMPLETE, BATCH_TAG: str(batch)}
    with suppress(ObjectGoneError):
        tags = store.tags(archive)
        if not ours.items() <= tags.items():
            store.tag(archive, tags | ours)
            _check_tagged(store, archive, etag)


def _check_tagged(store: Store, archive: str, etag: str) -> None:
    """Take the tags away again from content that was stored in between: it has had none."""
    stored = store.head(archive)
    if stored is not None and stored.etag != etag:
        store.tag(archive, {})


def unretire(store: Store, archive: str, batch: BatchId) -> None:
    """Take the archive's state away again, as its batch is to be worked on anew.

    It says which batch it is, whatever else was done to its tags and its time.
    """
    tags = store.tags(archive)
    others = {name: value for name, value in tags.items() if name != STATE_TAG}
    wanted = others | {BATCH_TAG: str(batch)}
    if wanted != tags:
        store.tag(archive, wanted)


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
