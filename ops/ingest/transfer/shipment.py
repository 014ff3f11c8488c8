"""What the ledger knows of files and of shipments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from events.keys import BatchId


class ShipmentState(StrEnum):
    """How far a shipment is."""

    #: It is being read into a file here.
    STAGING = "staging"
    #: It is here, whole and verified.
    STAGED = "staged"
    #: The store has confirmed it.
    SENT = "sent"


@dataclass(frozen=True, slots=True, order=True)
class FileVersion:
    """A file of another machine, as it is at one time.

    Attributes:
        path: Absolute, in no known encoding.
        size: Bytes.
        mtime: When it was changed, in whole seconds since 1970 by that machine's clock.
    """

    path: bytes
    size: int
    mtime: int


@dataclass(frozen=True, slots=True)
class ShipmentFile:
    """A file in a shipment.

    Attributes:
        number: The ledger's.
        file: The file.
        name: Its name in the archive, where the shipment is a pack.
        sha256: Of its content, in hex, as its own machine says; None while that is not known.
    """

    number: int
    file: FileVersion
    name: bytes
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Shipment:
    """What goes up as one archive.

    Attributes:
        number: The ledger's.
        batch: The batch that it will be.
        host: The machine it comes from, as `ops.ingest.transfer.source.Host.label` names it.
        path: The archive's path there, or the folder of a pack's files.
        is_pack: Whether it is made of loose files here.
        state: How far it is.
        size: Bytes, once it is staged.
        sha256: Of all of them, in hex.
        part_size: Bytes of the parts that it goes up in: they decide its ETag.
        upload_id: The multipart upload that was begun for it.
        etag: What the object's ETag is, or will be.
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

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Self:
        """Read the ledger's row."""
        number, batch, host, path, is_pack, state, *others = row
        return cls(number, BatchId(batch), host, path, bool(is_pack), ShipmentState(state), *others)
