"""What there is to do for one machine: shipments to resume, new files, and packs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from consumers.archive.formats import HEAD_BYTES, recognise
from consumers.errors import BadArchiveError
from consumers.portions import portions
from ops.ingest.transfer import tar
from ops.ingest.transfer.errors import FileError
from ops.ingest.transfer.ledger import Ledger
from ops.ingest.transfer.listing import FoundFile
from ops.ingest.transfer.remote import Remote, RemoteSession
from ops.ingest.transfer.report import TransferOutcome, TransferReport, TransferResult
from ops.ingest.transfer.shipment import Shipment, ShipmentState
from ops.ingest.transfer.staging import StagingFolder

#: Files whose first bytes are requested at the same time.
_LOOKS = 16


@dataclass(frozen=True, slots=True)
class PackLimits:
    """The limits of one pack.

    Attributes:
        files: The most files.
        size: The most bytes; a larger file is packed on its own.
    """

    files: int
    size: int


@dataclass(frozen=True, slots=True)
class PlannedShipment:
    """Files that will become one shipment.

    Attributes:
        path: The archive's path, or the folder of the files.
        files: One archive, or the files of a pack.
        is_pack: Whether the files have to be packed.
    """

    path: bytes
    files: Sequence[FoundFile]
    is_pack: bool

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(found.file.size for found in self.files)


def open_shipments(
    ledger: Ledger, staging: StagingFolder, host: str, listed: Iterable[FoundFile], *, is_dry: bool
) -> list[Shipment]:
    """Return the unfinished shipments of these files; a file that changed counts as new.

    Shipments of other files stay as they are: their source may be named again.
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
    """Drop the files that the ledger has, and those modified at a ``recent`` second.

    A time in the far future is not recent: some recorders have a wrong clock.
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


async def plan_shipments(
    remote: Remote, report: TransferReport, new: Sequence[FoundFile], packing: PackLimits
) -> list[PlannedShipment]:
    """Plan how new files are sent: archives, told by their first bytes, as they are.

    A file that is gone by now, or unreadable, is reported.
    """
    archives, loose = [], []
    for group in portions(new, _LOOKS):

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
    """Divide loose files into packs, each of one folder, in order."""
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
