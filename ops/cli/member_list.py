"""A batch's members: from the bucket, and into a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from consumers.documents.manifest import ManifestEntry, ManifestHead, read_manifest
from consumers.errors import PermanentError
from consumers.store import ObjectGoneError, Store
from events.keys import BatchId
from ops.cli.render.members import write_members

MEMBERS_FILE = "members.csv"


@contextmanager
def open_members(
    store: Store, batch: BatchId
) -> Iterator[tuple[ManifestHead, Iterator[ManifestEntry]]]:
    """Read a batch's manifest.

    Raises:
        PermanentError: It has none, as its archive is not read to the end; or an invalid one.
    """
    with tempfile.TemporaryFile() as file:
        try:
            store.download(batch.manifest_key, file)
        except ObjectGoneError as exc:
            raise PermanentError(
                f"the members of batch {batch} are not known before its archive is read to its "
                f"end: 'dropscribe status {batch}' says how far it is"
            ) from exc
        file.seek(0)
        yield read_manifest(cast("BinaryIO", file))


def save_members(store: Store, batch: BatchId, folder: Path) -> int:
    """Write `MEMBERS_FILE` into a folder, and return the number of members.

    Raises:
        PermanentError: See `open_members`; or the file cannot be written.
    """
    path = folder / MEMBERS_FILE
    with open_members(store, batch) as (_, entries):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                return write_members(batch, entries, file)
        except OSError as exc:
            raise PermanentError(f"{exc.filename or path}: {exc.strerror or exc}") from exc
