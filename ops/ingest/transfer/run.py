"""One run: upload what is staged, then fetch what is new from each machine."""

from __future__ import annotations

import asyncio
import secrets
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.store import LocalFileChangedError, Store
from events.keys import BatchId
from ops.ingest.transfer.errors import AwayError
from ops.ingest.transfer.fetch import Fetch
from ops.ingest.transfer.ledger import Shipment, ShipmentState
from ops.ingest.transfer.login import Login
from ops.ingest.transfer.plan import PlannedShipment, Planner, TransferOptions
from ops.ingest.transfer.remote import Remote
from ops.ingest.transfer.report import TransferOutcome, TransferReport, TransferResult
from ops.ingest.transfer.send import send_shipment
from ops.ingest.transfer.source import Host, TransferSource, base_name, shown
from ops.ingest.transfer.staging import Staging

#: Shows a title and a size while a block runs, which reports the bytes done from any thread.
ShowProgress: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class _StoppedError(TransientError):
    """The run was cancelled during an upload."""


@dataclass(kw_only=True, slots=True)
class Transfer:
    """One run of a transfer."""

    staging: Staging
    login: Login
    store: Store
    options: TransferOptions
    clock: Callable[[], datetime]
    show_progress: ShowProgress
    _report: TransferReport = field(init=False)
    _damaged: list[Shipment] = field(init=False, default_factory=list)

    async def run(self, sources: Iterable[TransferSource]) -> TransferReport:
        """Send everything new. A failure is reported, and left for the next run.

        Raises:
            TransientError: The store or the staging folder is unavailable.
            PermanentError: The store denies access to the bucket.
        """
        self._report = TransferReport(is_dry=self.options.is_dry)
        if not self.options.is_dry:
            await asyncio.to_thread(self.store.require_bucket)
            self.staging.tidy(self.clock())
            for shipment in self.staging.ledger.in_state(ShipmentState.STAGED):
                await self._send(shipment)
        machines: dict[str, dict[Host, list[TransferSource]]] = {}
        for source in dict.fromkeys(sources):
            users = machines.setdefault(source.host.label, {})
            users.setdefault(source.host, []).append(source)
        slots = asyncio.Semaphore(self.options.connections)
        async with asyncio.TaskGroup() as group:
            for users in machines.values():
                group.create_task(self._serve(users, slots))
        self._report_damaged()
        return self._report

    async def _serve(
        self, users: Mapping[Host, Sequence[TransferSource]], slots: asyncio.Semaphore
    ) -> None:
        """Transfer from one machine, for one user after another, as they share the files."""
        async with slots:
            for host, sources in users.items():
                try:
                    async with Remote(host, self.login) as remote:
                        await self._serve_connected(remote, sources)
                except Exception as exc:
                    # An unforeseen error must not stop the transfer from other machines.
                    self._report.errors += list(dict.fromkeys(_described(host, exc)))

    async def _serve_connected(self, remote: Remote, sources: Sequence[TransferSource]) -> None:
        planner = Planner(remote, self.staging, self.options, self._report)
        found = await planner.find(sources)
        resumed = planner.resumed(found)
        planned = await planner.planned(found, self.clock().timestamp())
        if self.options.is_dry:
            self._report_plan(remote.host, resumed, planned)
        else:
            await self._ship(remote, resumed, planned)

    async def _ship(
        self, remote: Remote, resumed: Sequence[Shipment], planned: Sequence[PlannedShipment]
    ) -> None:
        """Fetch one shipment after another, and upload each while the next is fetched."""
        one = asyncio.Semaphore(1)
        async with asyncio.TaskGroup() as uploads:
            begun = (self._begin(remote.host, each) for each in planned)
            for shipment in chain(resumed, begun):
                try:
                    staged = await self._stage(remote, shipment)
                except AwayError as exc:
                    # The other shipments are on the same machine.
                    self._report.errors.append(str(exc))
                    return
                if staged is not None:
                    await one.acquire()
                    task = uploads.create_task(self._send(staged))
                    task.add_done_callback(lambda _: one.release())

    def _begin(self, host: Host, planned: PlannedShipment) -> Shipment:
        return self.staging.ledger.begin(
            self._new_batch(),
            host.label,
            planned.path,
            [(found.file, found.name) for found in planned.files],
            is_pack=planned.is_pack,
            now=self.clock(),
        )

    async def _stage(self, remote: Remote, shipment: Shipment) -> Shipment | None:
        size = self.staging.size(shipment)
        with self.show_progress(f"fetch {_title(shipment)}", size) as advance:
            try:
                return await Fetch(shipment, remote, self.staging, self._report, advance).stage()
            except AwayError:
                raise
            except (PermanentError, TransientError) as exc:
                self._add(TransferOutcome.FAILED, shipment, size, str(exc))
        return None

    async def _send(self, shipment: Shipment) -> None:
        size = shipment.size or 0
        stop = threading.Event()
        try:
            with self.show_progress(f"upload {_title(shipment)}", size) as advance:

                def stored(count: int) -> None:
                    if stop.is_set():
                        raise _StoppedError
                    advance(count)

                await asyncio.to_thread(
                    send_shipment,
                    self.store,
                    self.staging,
                    shipment,
                    now=self.clock(),
                    advance=stored,
                )
            self.staging.ledger.record_sent(shipment, self.clock())
        except asyncio.CancelledError:
            stop.set()
            raise
        except LocalFileChangedError as exc:
            self.staging.ledger.restart(shipment, self._new_batch())
            self._remove(shipment)
            self._damaged.append(shipment)
            self._report.notes.append(f"{exc}: it will be fetched again")
        except (ConfigurationError, PermanentError, TransientError) as exc:
            why = f"{exc}; it stays staged for the next run"
            self._add(TransferOutcome.FAILED, shipment, size, why)
        else:
            self._add(TransferOutcome.SENT, shipment, size)
            self._remove(shipment)

    def _remove(self, shipment: Shipment) -> None:
        try:
            self.staging.remove(shipment)
        except TransientError as exc:
            self._report.notes.append(f"{exc}: it stays until the next run")

    def _report_plan(
        self, host: Host, resumed: Sequence[Shipment], planned: Sequence[PlannedShipment]
    ) -> None:
        for shipment in resumed:
            size = self.staging.size(shipment)
            self._add(TransferOutcome.NEW, shipment, size, "will resume")
        for each in planned:
            size = sum(found.file.size for found in each.files)
            files = len(each.files) if each.is_pack else None
            self._report.entries.append(
                TransferResult(TransferOutcome.NEW, host.label, each.path, size, files)
            )

    def _report_damaged(self) -> None:
        """Report the damaged files that this run could not fetch again."""
        why = "the staged copy is damaged and could not be fetched again"
        for shipment in self._damaged:
            if self.staging.ledger.state(shipment.number) is not ShipmentState.SENT:
                self._add(TransferOutcome.FAILED, shipment, shipment.size or 0, why)

    def _add(
        self, outcome: TransferOutcome, shipment: Shipment, size: int, why: str | None = None
    ) -> None:
        files = len(self.staging.ledger.members(shipment)) if shipment.is_pack else None
        batch = str(shipment.batch) if outcome is TransferOutcome.SENT else None
        self._report.entries.append(
            TransferResult(outcome, shipment.host, shipment.path, size, files, batch, why)
        )

    def _new_batch(self) -> BatchId:
        return BatchId.new(self.clock(), secrets.token_bytes(3))


def _described(host: Host, exc: Exception) -> Iterator[str]:
    """Describe the errors of a machine."""
    if isinstance(exc, ExceptionGroup):
        for each in exc.exceptions:
            yield from _described(host, each)
    elif isinstance(exc, ConfigurationError | PermanentError | TransientError):
        yield str(exc)
    else:
        # An unforeseen error may quote a secret, so only its type and place are reported.
        where = traceback.extract_tb(exc.__traceback__)[-1]
        yield (
            f"{host}: {type(exc).__name__} in {Path(where.filename).name}, "
            f"line {where.lineno}: please report this; staged files stay for the next run"
        )


def _title(shipment: Shipment) -> str:
    return shown(base_name(shipment.path)) or shipment.host
