"""Sending a staged archive to the store, with metadata that names its origin."""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import datetime
from functools import partial
from urllib.parse import quote

from consumers.errors import TransientError
from consumers.store import LocalFileChangedError, Store, UploadJournal, encoded_metadata
from ops.ingest.transfer.ledger import Shipment
from ops.ingest.transfer.source import base_name
from ops.ingest.transfer.staging import Staging

#: Amazon S3 allows 2 KB for all of an object's user metadata. A path has up to 4096
#: bytes, and each may take three characters.
_NAME_LENGTH = 512
_PATH_LENGTH = 1024

_SAFE = "/ +@=,"


def send_shipment(
    store: Store,
    staging: Staging,
    shipment: Shipment,
    *,
    now: datetime,
    advance: Callable[[int], None],
) -> None:
    """Upload a staged shipment, or what is left of its upload, until the store confirms it.

    The ledger records how far the upload is, and the metadata tell ``now``. ``advance`` is
    called with the bytes stored since the last call, from any thread.

    Raises:
        LocalFileChangedError: The staged file is damaged or gone.
        TransientError: The store is unreachable, or does not confirm the upload.
        PermanentError: The store denies access, or has another object under the key.
    """
    if shipment.size is None or shipment.sha256 is None or shipment.part_size is None:
        raise LookupError(f"{shipment.batch} is not staged")
    journal = UploadJournal(
        shipment.size,
        shipment.sha256,
        shipment.part_size,
        shipment.upload_id,
        shipment.etag,
        save_upload_id=partial(staging.ledger.record_upload, shipment),
        save_etag=partial(staging.ledger.record_etag, shipment),
    )
    key, path = shipment.batch.archive_key, staging.path(shipment)
    metadata = archive_metadata(shipment, now)
    try:
        store.upload(key, path, metadata=metadata, advance=advance, journal=journal)
    except OSError as exc:
        # Other errors, such as too many open files, say nothing about the file.
        is_damaged = exc.errno in {errno.ENOENT, errno.EIO}
        kind = LocalFileChangedError if is_damaged else TransientError
        raise kind(f"{path} cannot be read: {exc.strerror or exc}") from exc


def archive_metadata(shipment: Shipment, now: datetime) -> dict[str, str]:
    """Make an archive's metadata, as it goes over the wire.

    ``source-path`` is the path's bytes, percent-encoded; a very long path loses its start.
    """
    name = base_name(shipment.path)
    if shipment.is_pack:
        name = (name or shipment.host.encode()) + b".tar"
    return {
        "original-name": _fitting(name, _NAME_LENGTH),
        "source-path": _fitting(shipment.path, _PATH_LENGTH),
        **encoded_metadata({"source-host": shipment.host, "transferred-at": now.isoformat()}),
    }


def _fitting(path: bytes, length: int) -> str:
    text = quote(path, safe=_SAFE)
    start = 0
    while len(text) > length:
        # A byte takes three characters at most.
        start += max(1, (len(text) - length) // 3)
        text = quote(b"..." + path[start:], safe=_SAFE)
    return text
