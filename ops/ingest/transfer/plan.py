"""What there is to do for one machine: what to go on with, what is new, and what to pack."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from consumers.archive.formats import HEAD_BYTES, recognise
from consumers.errors import BadArchiveError
from ops.ingest.transfer import tar
from ops.ingest.transfer.errors import FileError
from ops.ingest.transfer.ledger import Ledger
from ops.ingest.transfer.listing import FoundFile
from ops.ingest.transfer.remote import Remote, RemoteSession
from ops.ingest.transfer.report import TransferOutcome, TransferReport, TransferResult
from ops.ingest.transfer.shipment import Shipment, ShipmentState
from ops.ingest.transfer.staging import StagingFolder

#: Files whose first bytes are asked for at a time.
_LOOKS = 16


@dataclass(frozen=True, slots=True)
class PackLimits:
    """How loose files are packed.

    Attributes:
        files: The most in one pack.
        size: The most bytes in one pack; a larger file has one of its own.
    """

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class PlannedShipment:
    """Files that will be one shipment.

    Attributes:
        path: The archive, or the folder of the files.
        files: They.
        is_pack: Whether they have to be packed.
    """

    path: bytes
    files: Sequence[FoundFile]
    is_pack: bool

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(found.file.size for found in self.files)


def open_shipments(
    ledger: Ledger, staging: StagingFolder, host: str, listed: Iterable[FoundFile], *, is_dry: bool
) -> list[Shipment]:
    """Give what was begun of these files; those that were changed since are new ones.

    What was begun of other files is left as it is: their source may come again.
    """
    now = {found.file.path: found.file for found in listed}
    resumed = []
    for shipment in ledger.in_state(ShipmentState.STAGING, host):
        members = ledger.members(shipment)
        changed = [each for each in members if now.get(each.file.path, each.file) != each.file]
        if not is_dry:
            for member in changed:
                ledger.leave(member)
            if len(changed) == len(members):
                ledger.forget(shipment)
                staging.remove(shipment)
                continue
        if any(member.file.path in now for member in members if member not in changed):
            resumed.append(shipment)
    return resumed


def sift(
    ledger: Ledger, report: TransferReport, host: str, listed: Iterable[FoundFile], recent: range
) -> list[FoundFile]:
    """Leave out what the ledger knows, and what was changed at a ``recent`` second.

    A time in the far future is no recent one: some recorders have a wrong clock.
    """
    new = []
    for found in listed:
        if ledger.find(host, found.file) is not None:
            report.known += 1
        elif found.file.mtime in recent:
            report.add(
                TransferResult(TransferOutcome.UNSETTLED, host, found.file.path, found.file.size)
            )
        else:
            new.append(found)
    return new


async def consign(
    remote: Remote, report: TransferReport, new: Sequence[FoundFile], packing: PackLimits
) -> list[PlannedShipment]:
    """Say how new files go up: what begins as an archive does is sent as it is.

    What is away by now, or may not be read, is reported.
    """
    archives, loose = [], []
    for first in range(0, len(new), _LOOKS):
        group = new[first : first + _LOOKS]

        async def look(
            session: RemoteSession, group: Sequence[FoundFile] = group
        ) -> list[bytes | FileError]:
            return await asyncio.gather(*(_head(session, found) for found in group))

        for found, head in zip(group, await remote.do(look), strict=True):
            if isinstance(head, FileError):
                report.add(
                    TransferResult(
                        TransferOutcome.FAILED,
                        remote.host.label,
                        found.file.path,
                        found.file.size,
                        why=str(head),
                    )
                )
            elif _is_archive(head):
                archives.append(PlannedShipment(found.file.path, [found], is_pack=False))
            else:
                loose.append(found)
    return [*archives, *packs(loose, packing)]


def packs(loose: Iterable[FoundFile], packing: PackLimits) -> Iterator[PlannedShipment]:
    """Divide loose files into packs, each of one folder's, in their order."""
    bases: dict[bytes, list[FoundFile]] = {}
    for found in loose:
        bases.setdefault(found.base, []).append(found)
    for base, files in bases.items():
        pack: list[FoundFile] = []
        size = 0
        for found in files:
            added = tar.packed_size(found.name, found.file.size)
            if pack and (len(pack) >= packing.files or size + added > packing.size):
                yield PlannedShipment(base, pack, is_pack=True)
                pack, size = [], 0
            pack.append(found)
            size += added
        if pack:
            yield PlannedShipment(base, pack, is_pack=True)


async def _head(session: RemoteSession, found: FoundFile) -> bytes | FileError:
    try:
        return await session.head(found.file.path, HEAD_BYTES)
    except FileError as exc:
        return exc


def _is_archive(head: bytes) -> bool:
    try:
        recognise(head)
    except BadArchiveError:
        return False
    return True
