"""An archive in the bucket: its batch, its bytes and its tags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Literal, get_args

from consumers.documents.manifest import Archive
from consumers.documents.note import Note
from consumers.store import ObjectGoneError, Store, StoredObject
from consumers.store.grants import BucketGrant
from events.keys import ARCHIVES, ArchiveKey, BatchId, MalformedKeyError

ArchiveState = Literal["complete", "kept", "failed"]

#: The tag of an archive whose batch is finished, and the tag's value if the archive is not
#: needed any more. The bucket's lifecycle rule expires archives with this value.
STATE_TAG = "dropscribe"
COMPLETE: ArchiveState = "complete"

#: The value if the archive was readable to its end, but something of it is missing from the
#: result. It stays until somebody releases it, or the lifecycle rule of such archives expires it.
KEPT: ArchiveState = "kept"

#: The value if the archive was not readable to its end: it stays until somebody releases it.
FAILED: ArchiveState = "failed"

#: The tag with an archive's batch id.
BATCH_TAG = "dropscribe-batch"

#: The right to read an archive, and to tag it once its batch is over.
ARCHIVES_GRANT = BucketGrant(
    "Archives",
    ("s3:GetObject", "s3:GetObjectTagging", "s3:PutObjectTagging", "s3:DeleteObjectTagging"),
    (f"{ARCHIVES}*",),
)


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """The bytes of an archive in the bucket (`consumers.archive.ArchiveSource`)."""

    store: Store
    stored: StoredObject

    @property
    def size(self) -> int:
        """Bytes in the store, compressed or not."""
        return self.stored.size

    def stream(self) -> BinaryIO:
        """Read the object from its start; a download that breaks off resumes."""
        return self.store.stream(self.stored)

    def read_range(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from ``start``; fewer only at the end of the object."""
        return self.store.read_range(self.stored, start, length)


def _identify(store: Store, key: ArchiveKey, stored: StoredObject) -> BatchId:
    """Return the id of an archive's batch: from its name, its tag, or the answer to HEAD.

    An archive without a batch id in its name is tagged with the id when its batch is
    complete: some stores count that as a modification, which changes the time in the answer
    to HEAD, and so the id that would be derived from it.
    """
    if key.batch is not None:
        return key.batch
    try:
        return BatchId(store.tags(key.key)[BATCH_TAG])
    except (KeyError, MalformedKeyError):
        return BatchId.derived(stored.last_modified, stored.key, stored.etag)


def describe(store: Store, key: ArchiveKey, stored: StoredObject) -> Archive:
    """Describe an archive by the answer to HEAD."""
    return Archive(
        batch=_identify(store, key, stored),
        key=stored.key,
        etag=stored.etag,
        size=stored.size,
        original_name=stored.metadata.get("original-name") or PurePosixPath(stored.key).name,
        dropped_at=stored.last_modified,
    )


def final_state(
    *, failed: bool, rejected: int, with_losses: int, notes: Iterable[Note]
) -> ArchiveState:
    """Decide whether an archive may expire: only if all of its sound is accounted for.

    Args:
        failed: Whether it was not readable to its end.
        rejected: Its rejected members.
        with_losses: Its recordings with notes of missing sound.
        notes: Notes about the archive as a whole.
    """
    if failed:
        return FAILED
    return KEPT if rejected or with_losses or any(note.is_loss for note in notes) else COMPLETE


def archive_state(store: Store, archive: str, etag: str) -> ArchiveState | None:
    """Read the state of a finished batch's archive; None where it is gone or not tagged."""
    stored = store.head(archive)
    if stored is None or stored.etag != etag:
        return None
    try:
        value = store.tags(archive).get(STATE_TAG)
    except ObjectGoneError:
        return None
    return next((state for state in get_args(ArchiveState) if state == value), None)


def retire(store: Store, archive: str, etag: str, batch: BatchId, state: ArchiveState) -> bool:
    """Tag the archive of a batch that is finished; other tags stay.

    Content that replaced it since is not the batch's archive, and stays untagged.

    Returns:
        Whether the archive is there.
    """
    stored = store.head(archive)
    if stored is None or stored.etag != etag:
        return False
    ours = {STATE_TAG: state, BATCH_TAG: str(batch)}
    try:
        tags = store.tags(archive)
        if not ours.items() <= tags.items():
            store.tag(archive, tags | ours)
            _check_tagged(store, archive, etag)
    except ObjectGoneError:
        return False
    return True


def _check_tagged(store: Store, archive: str, etag: str) -> None:
    """Remove the tags again if new content, which had none, was stored in between."""
    stored = store.head(archive)
    if stored is not None and stored.etag != etag:
        store.tag(archive, {})


def unretire(store: Store, archive: str, batch: BatchId) -> None:
    """Remove the tag of an archive's state, before its batch is done again.

    The tag with the batch id stays, or is set.
    """
    tags = store.tags(archive)
    others = {name: value for name, value in tags.items() if name != STATE_TAG}
    wanted = others | {BATCH_TAG: str(batch)}
    if wanted != tags:
        store.tag(archive, wanted)
