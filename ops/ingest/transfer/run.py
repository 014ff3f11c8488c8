"""One run: upload what is staged, then fetch what is new from each machine."""

from __future__ import annotations

import asyncio
import secrets
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.store import LocalFileChangedError, Store
from events.keys import BatchId
from ops.ingest.transfer.errors import AwayError, FileError
from ops.ingest.transfer.fetch import Fetcher
from ops.ingest.transfer.ledger import Ledger
from ops.ingest.transfer.listing import FoundFile, Listing, list_source
from ops.ingest.transfer.login import Login
from ops.ingest.transfer.plan import (
    PackLimits,
    PlannedShipment,
    open_shipments,
    plan_shipments,
    sift,
)
from ops.ingest.transfer.remote import Remote, RemoteSession
from ops.ingest.transfer.report import TransferOutcome, TransferReport, TransferResult
from ops.ingest.transfer.send import send_shipment
from ops.ingest.transfer.shipment import Shipment, ShipmentState
from ops.ingest.transfer.source import Host, TransferSource, base_name, shown
from ops.ingest.transfer.staging import StagingFolder

#: Seconds after which a shipment is abandoned whose source was not named again.
_KEPT = 14 * 86400.0

#: Seconds by which a file's time can be ahead of its machine's clock.
_CLOCK_STEP = 3600

#: The most unreadable files and folders to name for each source.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """What to send in one run, and how hard to try.

    Attributes:
        settle: Seconds since a file was last modified, at least.
        pack_files: The most loose files in one archive.
        pack_bytes: The most bytes of loose files in one archive.
        connections: The most machines that are connected at the same time.
        attempts: The most failures of a connection in a row.
        is_dry: Whether nothing is sent.
    """

    settle: float
    pack_files: int
    pack_bytes: int
    connections: int
    attempts: int
    is_dry: bool = False


#: Shows a title and a size while a block runs, which reports the bytes done from any thread.
ShowProgress: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class _StoppedError(TransientError):
    """The run was cancelled during an upload."""


def run_transfer(
    sources: Iterable[TransferSource],
    *,
    staging: StagingFolder,
    login: Login,
    store: Store,
    options: TransferOptions,
    clock: Callable[[], datetime],
    show_progress: ShowProgress,
) -> TransferReport | None:
    """Send everything new from the sources; None while another run has the staging folder.

    See `Transfer.run` for the errors.
    """
    with staging.alone() as is_alone:
        if not is_alone:
            return None
        with Ledger(staging.ledger) as ledger:
            transfer = Transfer(
                ledger=ledger,
                staging=staging,
                store=store,
                login=login,
                options=options,
                clock=clock,
                show_progress=show_progress,
            )
            return asyncio.run(transfer.run(sources))


class Transfer:
    """One run of a transfer.

    Args:
        ledger: Records what was sent and what is in progress.
        staging: Where files are staged.
        store: The bucket.
        login: How to log in.
        options: What to send.
        clock: The current time.
        show_progress: Shows the progress of each file.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        staging: StagingFolder,
        store: Store,
        login: Login,
        options: TransferOptions,
        clock: Callable[[], datetime],
        show_progress: ShowProgress,
    ) -> None:
        self._ledger = ledger
        self._staging = staging
        self._store = store
        self._login = login
        self._options = options
        self._limits = PackLimits(options.pack_files, options.pack_bytes)
        self._clock = clock
        self._show_progress = show_progress
        self._report = TransferReport(is_dry=options.is_dry)
        self._fetcher = Fetcher(ledger, staging, self._report)
        self._damaged: list[Shipment] = []

    async def run(self, sources: Iterable[TransferSource]) -> TransferReport:
        """Send everything new. A failure is reported, and left for the next run.

        Raises:
            TransientError: The store or the staging folder is unavailable.
            PermanentError: The store denies access to the bucket.
        """
        if not self._options.is_dry:
            await asyncio.to_thread(self._store.require_bucket)
            self._tidy()
            for shipment in self._ledger.in_state(ShipmentState.STAGED):
                await self._send(shipment)
        machines: dict[str, dict[Host, list[TransferSource]]] = {}
        for source in dict.fromkeys(sources):
            users = machines.setdefault(source.host.label, {})
            users.setdefault(source.host, []).append(source)
        slots = asyncio.Semaphore(self._options.connections)
        async with asyncio.TaskGroup() as group:
            for users in machines.values():
                group.create_task(self._serve(users, slots))
        self._report_damaged()
        return self._report

    def _tidy(self) -> None:
        """Remove staged files that are abandoned, or belong to no shipment."""
        now = self._clock().timestamp()
        for shipment in self._ledger.in_state(ShipmentState.STAGING):
            if self._staging.age(shipment, now) > _KEPT:
                self._ledger.forget(shipment)
        unsent = [
            shipment.number
            for state in (ShipmentState.STAGING, ShipmentState.STAGED)
            for shipment in self._ledger.in_state(state)
        ]
        self._staging.prune(set(unsent))

    async def _serve(
        self, users: Mapping[Host, Sequence[TransferSource]], slots: asyncio.Semaphore
    ) -> None:
        """Transfer from one machine, for one user after another, as they share the files."""
        async with slots:
            for host, sources in users.items():
                try:
                    async with Remote(host, self._login, self._options.attempts) as remote:
                        await self._serve_connected(remote, sources)
                except Exception as exc:
                    # An unforeseen error must not stop the transfer from other machines.
                    self._report.errors += list(dict.fromkeys(_described(host, exc)))

    async def _serve_connected(self, remote: Remote, sources: Sequence[TransferSource]) -> None:
        host = remote.host.label
        listed = await self._list(remote, sources)
        is_dry = self._options.is_dry
        resumed = open_shipments(self._ledger, self._staging, host, listed, is_dry=is_dry)
        time = await remote.do(RemoteSession.time) or int(self._clock().timestamp())
        recent = range(time - int(self._options.settle) + 1, time + _CLOCK_STEP)
        new = sift(self._ledger, self._report, host, listed, recent)
        planned = await plan_shipments(remote, self._report, new, self._limits)
        if is_dry:
            self._report_plan(host, resumed, planned)
            return
        await self._ship(remote, resumed, planned)

    async def _list(self, remote: Remote, sources: Sequence[TransferSource]) -> list[FoundFile]:
        """List the files of all sources; a file in several sources belongs to the first."""
        listed: dict[bytes, FoundFile] = {}
        for source in sources:
            try:
                listing = await remote.do(partial(list_source, source=source))
            except FileError as exc:
                self._report.errors.append(str(exc))
                continue
            self._report.notes += _skipped(source, listing)
            if not listing.files and not listing.closed:
                self._report.notes.append(f"{source}: no such files")
            for each in listing.files:
                listed.setdefault(each.file.path, each)
        return list(listed.values())

    async def _ship(
        self, remote: Remote, resumed: Sequence[Shipment], new: Sequence[PlannedShipment]
    ) -> None:
        """Fetch one shipment after another, and upload each while the next is fetched."""
        one = asyncio.Semaphore(1)
        async with asyncio.TaskGroup() as uploads:
            begun = (self._begin(remote.host, plan) for plan in new)
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

    def _begin(self, host: Host, new: PlannedShipment) -> Shipment:
        return self._ledger.begin(
            self._new_batch(),
            host.label,
            new.path,
            [(found.file, found.name) for found in new.files],
            is_pack=new.is_pack,
            now=self._clock(),
        )

    async def _stage(self, remote: Remote, shipment: Shipment) -> Shipment | None:
        size = self._fetcher.size(shipment)
        with self._show_progress(f"fetch {_title(shipment)}", size) as advance:
            try:
                return await self._fetcher.stage(shipment, remote, advance)
            except AwayError:
                raise
            except (PermanentError, TransientError) as exc:
                self._fail(shipment, size, str(exc))
        return None

    async def _send(self, shipment: Shipment) -> None:
        size = shipment.size or 0
        stop = threading.Event()
        try:
            with self._show_progress(f"upload {_title(shipment)}", size) as advance:

                def stored(count: int) -> None:
                    if stop.is_set():
                        raise _StoppedError
                    advance(count)

                await asyncio.to_thread(
                    send_shipment,
                    self._store,
                    self._ledger,
                    shipment,
                    self._staging.path(shipment),
                    now=self._clock(),
                    advance=stored,
                )
            self._ledger.record_sent(shipment, self._clock())
        except asyncio.CancelledError:
            stop.set()
            raise
        except LocalFileChangedError as exc:
            self._ledger.restart(shipment, self._new_batch())
            self._remove(shipment)
            self._damaged.append(shipment)
            self._report.notes.append(f"{exc}: it will be fetched again")
        except (ConfigurationError, PermanentError, TransientError) as exc:
            self._fail(shipment, size, f"{exc}; it stays staged for the next run")
        else:
            self._add(TransferOutcome.SENT, shipment, size)
            self._remove(shipment)

    def _remove(self, shipment: Shipment) -> None:
        try:
            self._staging.remove(shipment)
        except TransientError as exc:
            self._report.notes.append(f"{exc}: it stays until the next run")

    def _report_plan(
        self, host: str, resumed: Sequence[Shipment], new: Sequence[PlannedShipment]
    ) -> None:
        for shipment in resumed:
            self._add(TransferOutcome.NEW, shipment, self._fetcher.size(shipment), "will resume")
        for each in new:
            files = len(each.files) if each.is_pack else None
            self._report.add(TransferResult(TransferOutcome.NEW, host, each.path, each.size, files))

    def _report_damaged(self) -> None:
        """Report the damaged files that this run could not fetch again."""
        for shipment in self._damaged:
            if self._ledger.state(shipment.number) is not ShipmentState.SENT:
                self._fail(
                    shipment,
                    shipment.size or 0,
                    "the staged copy is damaged and could not be fetched again",
                )

    def _fail(self, shipment: Shipment, size: int, why: str) -> None:
        self._add(TransferOutcome.FAILED, shipment, size, why)

    def _add(
        self, outcome: TransferOutcome, shipment: Shipment, size: int, why: str | None = None
    ) -> None:
        is_sent = outcome is TransferOutcome.SENT
        self._report.add(
            TransferResult(
                outcome,
                shipment.host,
                shipment.path,
                size,
                len(self._ledger.members(shipment)) if shipment.is_pack else None,
                str(shipment.batch) if is_sent else None,
                why,
            )
        )

    def _new_batch(self) -> BatchId:
        return BatchId.new(self._clock(), secrets.token_bytes(3))


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


def _skipped(source: TransferSource, listing: Listing) -> Iterator[str]:
    for why in listing.closed[:_NAMED]:
        yield f"{source}: skipped: {why}"
    if len(listing.closed) > _NAMED:
        yield f"{source}: skipped: {len(listing.closed) - _NAMED} more"


def _title(shipment: Shipment) -> str:
    return shown(base_name(shipment.path)) or shipment.host
