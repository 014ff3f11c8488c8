"""Dropping an archive into the bucket."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from consumers.errors import PermanentError
from consumers.store import Store, encoded_metadata
from events.keys import BatchId


def drop_archive(
    store: Store,
    path: Path,
    *,
    now: datetime,
    host: str,
    advance: Callable[[int], None] = lambda _: None,
) -> BatchId:
    """Upload an archive of this ``host`` as a new batch, which is named after ``now``.

    ``advance`` is called with the bytes stored since the last call, from any thread.

    Raises:
        PermanentError: The file is unreadable, or the store denies access.
        TransientError: The store is unreachable.
    """
    batch = BatchId.new(now, secrets.token_bytes(3))
    metadata = {
        # A file name need not be UTF-8, and metadata has to be.
        "original-name": os.fsencode(path.name).decode(errors="replace"),
        "transferred-at": now.isoformat(),
        "source-host": host,
    }
    try:
        store.upload(batch.archive_key, path, metadata=encoded_metadata(metadata), advance=advance)
    except OSError as exc:
        raise PermanentError(f"{path}: {exc.strerror or exc}") from exc
    return batch
