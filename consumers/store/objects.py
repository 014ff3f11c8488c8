"""Objects as the store describes them, and the encoding of their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object in a listing: its size in bytes, its ETag without quotes, and an aware time."""

    key: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class StoredObject(ListedObject):
    """An object, as HEAD describes it: names of its metadata in lower case, values decoded."""

    metadata: Mapping[str, str]


def encoded_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Percent-encode what HTTP headers cannot carry: S3 metadata is ASCII."""
    return {name: quote(value, safe=" /:;,.=+()'!@[]{}|*&$") for name, value in metadata.items()}


def decoded_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Undo `encoded_metadata`."""
    return {name.lower(): unquote(value) for name, value in metadata.items()}
