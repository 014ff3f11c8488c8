"""What the store says of objects, and how their metadata goes over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of an object.

    Attributes:
        key: Its key.
        size: Bytes.
        etag: Its ETag without quotes.
        last_modified: When it was stored (aware).
        metadata: User metadata, names in lower case, values decoded.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object in a listing; see `StoredObject`."""

    key: str
    size: int
    etag: str
    last_modified: datetime


def encoded_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Percent-encode what HTTP headers can't carry: S3 metadata is ASCII."""
    return {name: quote(value, safe=" /:;,.=+()'!@[]{}|*&$") for name, value in metadata.items()}


def decoded_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Undo `encoded_metadata`."""
    return {name.lower(): unquote(value) for name, value in metadata.items()}
