"""What an archive's object says of where it comes from."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from consumers.store import encoded_metadata
from ops.ingest.transfer.shipment import Shipment
from ops.ingest.transfer.source import base_name

#: Amazon S3 allows 2 KB for all of an object's user metadata, and a path has up to 4096
#: bytes, each of which may take three.
_NAME_LENGTH = 512
_PATH_LENGTH = 1024


def archive_metadata(shipment: Shipment, now: datetime) -> dict[str, str]:
    """Make an archive's metadata, as it goes over the wire.

    ``source-path`` is the path's own bytes, percent-encoded; of a very long one, its end.
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
    text = _quoted(path)
    start = 0
    while len(text) > length:
        # A byte takes three characters at most.
        start += max(1, (len(text) - length) // 3)
        text = _quoted(b"..." + path[start:])
    return text


def _quoted(path: bytes) -> str:
    return quote(path, safe="/ +@=,")
