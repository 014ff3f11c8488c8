"""Fetching a shipment: read, packed and verified as it arrives, and resumed if interrupted."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial as bound

from consumers.portions import portions
from consumers.store import part_size
from ops.ingest.transfer import tar
from ops.ingest.transfer.errors import ChangedError, FileError
from ops.ingest.transfer.ledger import Shipment, ShipmentFile
from ops.ingest.transfer.remote import Remote, RemoteSession
from ops.ingest.transfer.report import TransferOutcome, TransferReport
from ops.ingest.transfer.staging import PartialFile, Staging

#: Files that one command hashes; it prints nothing until its input ends.
_HASHED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Fetch:
    """The fetching of one shipment.

    Attributes:
        shipment: What to fetch.
        remote: Its machine.
        staging: Where it is staged.
        report: Receives the results of skipped files, and counts bytes.
        advance: Called with the bytes that were added, or found here.
    """

    shipment: Shipment
    remote: Remote
    staging: Staging
    report: TransferReport
    advance: Callable[[int], None]

    async def stage(self) -> Shipment | None:
        """Stage the shipment, or the rest of one that was interrupted.

        Each file's SHA-256 is compared with the one computed on its own machine. A file
        is skipped if it changed, is gone, or has the content of one that was sent.

        Returns:
            The staged shipment; None if nothing is left of it.

        Raises:
            TransientError: The machine is unreachable, or the disk has no room. The
                staged part stays.
            PermanentError: The machine rejects the login.
        """
        await self._hash()
        self.staging.require_room(self.shipment, self.staging.size(self.shipment))
        count, sha256 = 0, ""
        with PartialFile(self.staging.path(self.shipment)) as partial:
            for member in self._members():
                count += await self._add(partial, member)
            if count:
                if self.shipment.is_pack:
                    partial.put(tar.TRAILER)
                sha256 = await asyncio.to_thread(partial.finish)
        # No await from here on, so that of two machines with the same file one is first.
        if not count or self._is_known():
            self.staging.forget(self.shipment)
            return None
        size = partial.position
        return self.staging.ledger.record_staged(
            self.shipment, size=size, sha256=sha256, part_size=part_size(size)
        )

    def _members(self) -> list[ShipmentFile]:
        return self.staging.ledger.members(self.shipment)

    async def _hash(self) -> None:
        """Hash the files on their own machine, and skip those that were sent."""
        members = [each for each in self._members() if each.sha256 is None]
        for group in portions(members, _HASHED_AT_ONCE):
            files = [member.file for member in group]
            digests = await self.remote.do(bound(RemoteSession.sha256, files=files))
            for member, sha256 in zip(group, digests, strict=True):
                if sha256 is None:
                    why = "it does not exist, or is not readable"
                    self._skip(member, TransferOutcome.FAILED, why)
                elif sent := self.staging.ledger.same_content(member.file.size, sha256):
                    self._copied(member, sha256, sent)
                else:
                    self.staging.ledger.record_hash(member, sha256)

    def _is_known(self) -> bool:
        """Whether all its content was staged meanwhile, under other names."""
        same = self.staging.ledger.same_content
        members = self._members()
        known = [
            (each, each.sha256, other)
            for each in members
            if each.sha256 and (other := same(each.file.size, each.sha256))
        ]
        if len(known) < len(members):
            return False
        for each in known:
            self._copied(*each)
        return True

    def _copied(self, member: ShipmentFile, sha256: str, other: Shipment) -> None:
        self.staging.ledger.record_copy(member, sha256, other)
        self._add_result(member, TransferOutcome.COPY, f"its content is in {other.batch}")

    async def _add(self, partial: PartialFile, member: ShipmentFile) -> bool:
        """Add a file to the archive; if it fails or has changed, the archive is as before."""
        before = partial.checkpoint()
        try:
            if self.shipment.is_pack:
                head = tar.header(member.name, member.file.size, member.file.mtime)
                self._put(partial, head)
            await self._add_content(partial, member)
        except FileError as exc:
            partial.go_back(before)
            is_changed = isinstance(exc, ChangedError)
            kind = TransferOutcome.CHANGED if is_changed else TransferOutcome.FAILED
            self._skip(member, kind, str(exc))
            return False
        if self.shipment.is_pack:
            self._put(partial, tar.padding(member.file.size))
        return True

    def _put(self, partial: PartialFile, data: bytes) -> None:
        partial.put(data)
        self.advance(len(data))

    async def _add_content(self, partial: PartialFile, member: ShipmentFile) -> None:
        start = partial.checkpoint()
        resumed, sha256 = await self._fetch(partial, member)
        if sha256 != member.sha256 and resumed:
            # Either the part here is damaged, or the file has changed: fetching again decides.
            self.advance(-member.file.size)
            partial.go_back(start)
            resumed, sha256 = await self._fetch(partial, member)
        if sha256 != member.sha256:
            raise ChangedError("it changed while it was read: left for the next run")
        self.report.fetched += member.file.size - resumed
        self.report.resumed += resumed

    async def _fetch(self, partial: PartialFile, member: ShipmentFile) -> tuple[int, str]:
        """Read the part here, and fetch the rest; give the part's bytes, and the whole SHA-256."""
        digest = hashlib.sha256()
        start = partial.position
        here = await asyncio.to_thread(partial.recall, member.file.size, digest)
        self.advance(here)

        async def rest(session: RemoteSession) -> None:
            async for data in session.read(member.file, partial.position - start):
                await asyncio.to_thread(partial.append, data, digest)
                self.advance(len(data))

        await self.remote.do(rest, lambda: partial.position)
        return here, digest.hexdigest()

    def _skip(self, member: ShipmentFile, outcome: TransferOutcome, why: str) -> None:
        self.staging.ledger.leave(member)
        self._add_result(member, outcome, why)

    def _add_result(self, member: ShipmentFile, outcome: TransferOutcome, why: str) -> None:
        self.report.add_file(outcome, self.shipment.host, member.file, why)
