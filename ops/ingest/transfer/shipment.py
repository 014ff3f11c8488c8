"""Shipments and their files, as the ledger records them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from events.keys import BatchId


class ShipmentState(StrEnum):
    """The state of a shipment."""

    #: Being read into a file here.
    STAGING = "staging"
    #: Here, whole and verified.
    STAGED = "staged"
    #: Confirmed by the store.
    SENT = "sent"


@dataclass(frozen=True, slots=True, order=True)
class FileVersion:
    """A version of a file on another machine.

    Attributes:
        path: The absolute path, in an unknown encoding.
        size: Bytes.
        mtime: When it was modified, in whole seconds since 1970 by that machine's clock.
    """

    path: bytes
    size: int
    mtime: int


@dataclass(frozen=True, slots=True)
class ShipmentFile:
    """A file in a shipment.

    Attributes:
        number: Its number in the ledger.
        file: The file.
        name: Its name in the archive, if the shipment is a pack.
        sha256: SHA-256 in hex, as computed on its own machine; None until then.
    """

    number: int
    file: FileVersion
    name: bytes
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Shipment:
    """An archive on its way from another machine to the store.

    Attributes:
        number: Its number in the ledger.
        batch: The batch that it becomes.
        host: The machine, as `ops.ingest.transfer.source.Host.label` names it.
        path: The archive's path there, or the folder of a pack's files.
        is_pack: Whether it is packed here, of loose files.
        state: Its state.
        size: Bytes of the archive, once it is staged.
        sha256: SHA-256 of the archive in hex, once it is staged.
        part_size: Bytes per part of the upload, which decide the ETag.
        upload_id: The multipart upload in progress.
        etag: The object's expected ETag.
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
        """Make a shipment of a row of the ledger."""
        number, batch, host, path, is_pack, state, *others = row
        return cls(number, BatchId(batch), host, path, bool(is_pack), ShipmentState(state), *others)
