"""What there is to do for one machine: shipments to resume, new files, and packs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from consumers.archive.formats import HEAD_BYTES, recognise
from consumers.errors import BadArchiveError
from consumers.portions import portions
from ops.ingest.transfer import tar
from ops.ingest.transfer.errors import FileError
from ops.ingest.transfer.ledger import Shipment, ShipmentState
from ops.ingest.transfer.listing import FoundFile, list_source
from ops.ingest.transfer.remote import Remote, RemoteSession
from ops.ingest.transfer.report import TransferOutcome, TransferReport
from ops.ingest.transfer.source import TransferSource
from ops.ingest.transfer.staging import Staging

#: Files whose first bytes are requested at the same time.
_LOOKS = 16

#: Seconds by which a file's time can be ahead of its machine's clock.
_CLOCK_STEP = 3600

#: The most unreadable files and folders to name for each source.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """What to send in one run.

    Attributes:
        settle: Seconds since a file was last modified, at least.
        pack_files: The most loose files in one archive.
        pack_bytes: The most bytes of loose files in one archive; a larger file is packed alone.
        connections: The most machines that are connected at the same time.
        is_dry: Whether nothing is sent.
    """

    settle: float
    pack_files: int
    pack_bytes: int
    connections: int
    is_dry: bool


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


@dataclass(frozen=True, slots=True)
class Planner:
    """Finds out what there is to do, and reports the files that are left out."""

    remote: Remote
    staging: Staging
    options: TransferOptions
    report: TransferReport

    async def find(self, sources: Iterable[TransferSource]) -> list[FoundFile]:
        """List the files of all sources; a file in several sources belongs to the first."""
        found: dict[bytes, FoundFile] = {}
        for source in sources:
            try:
                files, closed = await self.remote.do(partial(list_source, source=source))
            except FileError as exc:
                self.report.errors.append(str(exc))
                continue
            self.report.notes += [f"{source}: skipped: {why}" for why in closed[:_NAMED]]
            if len(closed) > _NAMED:
                self.report.notes.append(f"{source}: skipped: {len(closed) - _NAMED} more")
            if not files and not closed:
                self.report.notes.append(f"{source}: no such files")
            for each in files:
                found.setdefault(each.file.path, each)
        return list(found.values())

    def resumed(self, found: Iterable[FoundFile]) -> list[Shipment]:
        """Return the unfinished shipments of these files; a file that changed counts as new.

        Shipments of other files stay as they are: their source may be named again.
        """
        now = {each.file.path: each.file for each in found}
        ledger = self.staging.ledger
        resumed = []
        for shipment in ledger.in_state(ShipmentState.STAGING, self.remote.host.label):
            members = ledger.members(shipment)
            changed = [each for each in members if now.get(each.file.path, each.file) != each.file]
            if not self.options.is_dry:
                for member in changed:
                    ledger.leave(member)
                if len(changed) == len(members):
                    self.staging.forget(shipment)
                    continue
            if any(member.file.path in now for member in members if member not in changed):
                resumed.append(shipment)
        return resumed

    async def planned(self, found: Iterable[FoundFile], now: float) -> list[PlannedShipment]:
        """Plan how new files are sent: archives, told by their first bytes, as they are.

        Args:
            found: All files.
            now: The time, in case that the machine does not tell its own.
        """
        time = await self.remote.do(RemoteSession.time) or int(now)
        # A time in the far future is not recent: some recorders have a wrong clock.
        recent = range(time - int(self.options.settle) + 1, time + _CLOCK_STEP)
        archives, loose = [], []
        for group in portions(list(self._new(found, recent)), _LOOKS):
            heads = await self.remote.do(partial(_heads, group=group))
            for each, head in zip(group, heads, strict=True):
                if isinstance(head, FileError):
                    self._left_out(TransferOutcome.FAILED, each, str(head))
                elif _is_archive(head):
                    archives.append(PlannedShipment(each.file.path, [each], is_pack=False))
                else:
                    loose.append(each)
        return [*archives, *self._packs(loose)]

    def _new(self, found: Iterable[FoundFile], recent: range) -> Iterator[FoundFile]:
        """Leave out the files that the ledger has, and those modified at a recent second."""
        for each in found:
            if self.staging.ledger.find(self.remote.host.label, each.file) is not None:
                self.report.known += 1
            elif each.file.mtime in recent:
                self._left_out(TransferOutcome.UNSETTLED, each)
            else:
                yield each

    def _left_out(self, outcome: TransferOutcome, found: FoundFile, why: str | None = None) -> None:
        self.report.add_file(outcome, self.remote.host.label, found.file, why)

    def _packs(self, loose: Iterable[FoundFile]) -> Iterator[PlannedShipment]:
        """Divide loose files into packs, each of one folder, in order."""
        bases: dict[bytes, list[FoundFile]] = {}
        for found in loose:
            bases.setdefault(found.base, []).append(found)
        for base, files in bases.items():
            pack: list[FoundFile] = []
            size = 0
            for found in files:
                added = tar.packed_size(found.name, found.file.size)
                is_full = len(pack) >= self.options.pack_files
                if pack and (is_full or size + added > self.options.pack_bytes):
                    yield PlannedShipment(base, pack, is_pack=True)
                    pack, size = [], 0
                pack.append(found)
                size += added
            yield PlannedShipment(base, pack, is_pack=True)


async def _heads(session: RemoteSession, group: Sequence[FoundFile]) -> list[bytes | FileError]:
    async def head(found: FoundFile) -> bytes | FileError:
        try:
            return await session.head(found.file.path, HEAD_BYTES)
        except FileError as exc:
            return exc

    return await asyncio.gather(*map(head, group))


def _is_archive(head: bytes) -> bool:
    try:
        recognise(head)
    except BadArchiveError:
        return False
    return True
