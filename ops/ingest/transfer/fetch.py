"""Fetching a shipment: read, packed and verified as it arrives, and resumed if interrupted."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial as bound
from typing import TypeAlias

from consumers.portions import portions
from consumers.store import part_size
from ops.ingest.transfer import tar
from ops.ingest.transfer.errors import ChangedError, FileError
from ops.ingest.transfer.ledger import Ledger
from ops.ingest.transfer.remote import Remote, RemoteSession
from ops.ingest.transfer.report import TransferOutcome, TransferReport, TransferResult
from ops.ingest.transfer.shipment import Shipment, ShipmentFile
from ops.ingest.transfer.staging import PartialFile, StagingFolder

#: Files that one command hashes; it prints nothing until its input ends.
_HASHED_AT_ONCE = 64

_Advance: TypeAlias = Callable[[int], None]


class Fetcher:
    """Stages shipments.

    Args:
        ledger: Records their states.
        staging: The folder of staged files.
        report: Receives the results of skipped files.
    """

    def __init__(self, ledger: Ledger, staging: StagingFolder, report: TransferReport) -> None:
        self._ledger = ledger
        self._staging = staging
        self._report = report

    def size(self, shipment: Shipment) -> int:
        """Return the bytes of a shipment's archive."""
        members = self._ledger.members(shipment)
        if not shipment.is_pack:
            return sum(member.file.size for member in members)
        return len(tar.TRAILER) + sum(
            tar.packed_size(member.name, member.file.size) for member in members
        )

    async def stage(self, shipment: Shipment, remote: Remote, advance: _Advance) -> Shipment | None:
        """Stage a shipment, or the rest of one that was interrupted.

        Each file's SHA-256 is compared with the one computed on its own machine. A file
        is skipped if it changed, is gone, or has the content of one that was sent.

        Args:
            shipment: The shipment.
            remote: Its machine.
            advance: Called with the bytes that were added, or found here.

        Returns:
            The staged shipment; None if nothing is left of it.

        Raises:
            TransientError: The machine is unreachable, or the disk has no room. The
                staged part stays.
            PermanentError: The machine rejects the login.
        """
        await self._hash(shipment, remote)
        self._staging.require_room(shipment, self.size(shipment))
        count, sha256 = 0, ""
        with PartialFile(self._staging.path(shipment)) as partial:
            for member in self._ledger.members(shipment):
                count += await self._add(partial, shipment, member, remote, advance)
            if count:
                if shipment.is_pack:
                    partial.put(tar.TRAILER)
                sha256 = await asyncio.to_thread(partial.finish)
        # No await from here on, so that of two machines with the same file one is first.
        if count and self._is_known(shipment):
            count = 0
        if not count:
            self._ledger.forget(shipment)
            self._staging.remove(shipment)
            return None
        return self._ledger.record_staged(
            shipment,
            size=partial.position,
            sha256=sha256,
            part_size=part_size(partial.position),
        )

    def _is_known(self, shipment: Shipment) -> bool:
        """Whether all its content was staged meanwhile, under other names."""
        members = self._ledger.members(shipment)
        same = [
            self._ledger.same_content(each.file.size, each.sha256) if each.sha256 else None
            for each in members
        ]
        if not all(same):
            return False
        for member, other in zip(members, same, strict=True):
            if member.sha256 is not None and other is not None:
                self._copied(shipment, member, member.sha256, other)
        return True

    async def _hash(self, shipment: Shipment, remote: Remote) -> None:
        """Hash the files on their own machine, and skip those that were sent."""
        members = [each for each in self._ledger.members(shipment) if each.sha256 is None]
        for group in portions(members, _HASHED_AT_ONCE):
            files = [member.file for member in group]
            digests: list[str | None] = await remote.do(bound(RemoteSession.sha256, files=files))
            for member, sha256 in zip(group, digests, strict=True):
                self._hashed(shipment, member, sha256)

    def _hashed(self, shipment: Shipment, member: ShipmentFile, sha256: str | None) -> None:
        if sha256 is None:
            self._skip(
                shipment, member, TransferOutcome.FAILED, "it does not exist, or is not readable"
            )
            return
        sent = self._ledger.same_content(member.file.size, sha256)
        if sent is None:
            self._ledger.record_hash(member, sha256)
            return
        self._copied(shipment, member, sha256, sent)

    def _copied(
        self, shipment: Shipment, member: ShipmentFile, sha256: str, other: Shipment
    ) -> None:
        self._ledger.record_copy(member, sha256, other)
        self._add_result(shipment, member, TransferOutcome.COPY, f"its content is in {other.batch}")

    async def _add(
        self,
        partial: PartialFile,
        shipment: Shipment,
        member: ShipmentFile,
        remote: Remote,
        advance: _Advance,
    ) -> bool:
        """Add a file to the archive; if it fails or has changed, the archive is as before."""
        before = partial.checkpoint()
        try:
            if shipment.is_pack:
                head = tar.header(member.name, member.file.size, member.file.mtime)
                partial.put(head)
                advance(len(head))
            await self._add_content(partial, member, remote, advance)
        except FileError as exc:
            partial.go_back(before)
            kind = (
                TransferOutcome.CHANGED if isinstance(exc, ChangedError) else TransferOutcome.FAILED
            )
            self._skip(shipment, member, kind, str(exc))
            return False
        if shipment.is_pack:
            rest = tar.padding(member.file.size)
            partial.put(rest)
            advance(len(rest))
        return True

    async def _add_content(
        self, partial: PartialFile, member: ShipmentFile, remote: Remote, advance: _Advance
    ) -> None:
        start = partial.checkpoint()
        resumed, sha256 = await self._fetch(partial, member, remote, advance)
        if sha256 != member.sha256 and resumed:
            # Either the part here is damaged, or the file has changed: fetching again decides.
            advance(-member.file.size)
            partial.go_back(start)
            resumed, sha256 = await self._fetch(partial, member, remote, advance)
        if sha256 != member.sha256:
            raise ChangedError("it changed while it was read: left for the next run")
        self._report.fetched += member.file.size - resumed
        self._report.resumed += resumed

    async def _fetch(
        self, partial: PartialFile, member: ShipmentFile, remote: Remote, advance: _Advance
    ) -> tuple[int, str]:
        """Read the part here, and fetch the rest; give the part's bytes, and the whole SHA-256."""
        digest = hashlib.sha256()
        start = partial.position
        here = await asyncio.to_thread(partial.recall, member.file.size, digest)
        advance(here)

        async def rest(session: RemoteSession) -> None:
            async for data in session.read(member.file, partial.position - start):
                await asyncio.to_thread(partial.append, data, digest)
                advance(len(data))

        await remote.do(rest, lambda: partial.position)
        return here, digest.hexdigest()

    def _skip(
        self, shipment: Shipment, member: ShipmentFile, outcome: TransferOutcome, why: str
    ) -> None:
        self._ledger.leave(member)
        self._add_result(shipment, member, outcome, why)

    def _add_result(
        self, shipment: Shipment, member: ShipmentFile, outcome: TransferOutcome, why: str
    ) -> None:
        self._report.add(
            TransferResult(outcome, shipment.host, member.file.path, member.file.size, why=why)
        )
