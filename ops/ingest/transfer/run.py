"""One run: what is staged goes up, then all machines are asked for what is new."""

from __future__ import annotations

import asyncio
import secrets
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path

from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.store import LocalFileChangedError, Store
from events.keys import BatchId
from ops.ingest.transfer.bars import ShowProgress
from ops.ingest.transfer.errors import AwayError, FileError
from ops.ingest.transfer.fetch import Fetcher
from ops.ingest.transfer.ledger import Ledger
from ops.ingest.transfer.listing import FoundFile, Listing, list_source
from ops.ingest.transfer.login import Login
from ops.ingest.transfer.plan import PackLimits, PlannedShipment, consign, open_shipments, sift
from ops.ingest.transfer.remote import Attempts, Remote, RemoteSession
from ops.ingest.transfer.report import TransferOutcome, TransferReport, TransferResult
from ops.ingest.transfer.send import send_shipment
from ops.ingest.transfer.shipment import Shipment, ShipmentState
from ops.ingest.transfer.source import Host, TransferSource, base_name, shown
from ops.ingest.transfer.staging import StagingFolder

#: Seconds after which what was begun, and whose source has not come again, is given up.
_KEPT = 14 * 86400.0

#: Seconds by which a file can be newer than its own machine's clock says it is.
_CLOCK_STEP = 3600

#: Folders and files that are named of those that were left out of a source.
_TOLD = 10


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """How a run goes about it.

    Attributes:
        settle: Seconds that a file has to have been left unchanged.
        packing: How loose files are packed.
        connections: The most machines that are connected to at a time.
        attempts: How often a connection is made again.
        is_dry: Only look.
    """

    settle: float
    packing: PackLimits
    connections: int
    attempts: Attempts
    is_dry: bool = False


class _StoppedError(TransientError):
    """Somebody asked to end."""


class Transfer:
    """A run.

    Args:
        ledger: What was sent, and is on its way.
        staging: Where that is.
        store: The bucket.
        login: How to log in.
        rules: How to go about it.
        clock: Tells the time.
        watch: Shows the progress.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        staging: StagingFolder,
        store: Store,
        login: Login,
        rules: TransferOptions,
        clock: Callable[[], datetime],
        watch: ShowProgress,
    ) -> None:
        self._ledger = ledger
        self._staging = staging
        self._store = store
        self._login = login
        self._rules = rules
        self._clock = clock
        self._watch = watch
        self._report = TransferReport(is_dry=rules.is_dry)
        self._fetcher = Fetcher(ledger, staging, self._report)
        self._damaged: list[Shipment] = []

    async def run(self, sources: Iterable[TransferSource]) -> TransferReport:
        """Send all that is new, and say what became of it.

        What fails stays for the next run, and costs nothing else.

        Raises:
            TransientError: The store, or the folder of staged files, can't be used.
            PermanentError: The bucket is closed to us.
        """
        if not self._rules.is_dry:
            await asyncio.to_thread(self._store.require_bucket)
            self._tidy()
            for shipment in self._ledger.in_state(ShipmentState.STAGED):
                await self._send(shipment)
        machines: dict[str, dict[Host, list[TransferSource]]] = {}
        for source in dict.fromkeys(sources):
            users = machines.setdefault(source.host.label, {})
            users.setdefault(source.host, []).append(source)
        slots = asyncio.Semaphore(self._rules.connections)
        async with asyncio.TaskGroup() as group:
            for users in machines.values():
                group.create_task(self._serve(users, slots))
        self._report_damaged()
        return self._report

    def _tidy(self) -> None:
        """Remove what nobody comes for."""
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
        """Serve a machine: its users have the same files, so one after the other."""
        async with slots:
            for host, sources in users.items():
                try:
                    async with Remote(host, self._login, self._rules.attempts) as remote:
                        await self._serve_connected(remote, sources)
                except Exception as exc:
                    # Whatever it is, the other machines' files can be sent.
                    self._report.errors += list(dict.fromkeys(_words(host, exc)))

    async def _serve_connected(self, remote: Remote, sources: Sequence[TransferSource]) -> None:
        host = remote.host.label
        listed = await self._list(remote, sources)
        is_dry = self._rules.is_dry
        resumed = open_shipments(self._ledger, self._staging, host, listed, is_dry=is_dry)
        time = await remote.do(RemoteSession.time) or int(self._clock().timestamp())
        recent = range(time - int(self._rules.settle) + 1, time + _CLOCK_STEP)
        new = sift(self._ledger, self._report, host, listed, recent)
        consignments = await consign(remote, self._report, new, self._rules.packing)
        if is_dry:
            self._report_plan(host, resumed, consignments)
            return
        await self._ship(remote, resumed, consignments)

    async def _list(self, remote: Remote, sources: Sequence[TransferSource]) -> list[FoundFile]:
        """List what all sources mean; a file that several mean is the first one's."""
        listed: dict[bytes, FoundFile] = {}
        for source in sources:
            try:
                listing = await remote.do(partial(list_source, source=source))
            except FileError as exc:
                self._report.errors.append(str(exc))
                continue
            self._report.notes += _left_out(source, listing)
            if not listing.files and not listing.closed:
                self._report.notes.append(f"{source}: nothing is there")
            for each in listing.files:
                listed.setdefault(each.file.path, each)
        return list(listed.values())

    async def _ship(
        self, remote: Remote, resumed: Sequence[Shipment], new: Sequence[PlannedShipment]
    ) -> None:
        """Stage one after the other; while one is fetched, the one before goes up."""
        one = asyncio.Semaphore(1)
        async with asyncio.TaskGroup() as uploads:
            begun = (self._begin(remote.host, consignment) for consignment in new)
            for shipment in chain(resumed, begun):
                try:
                    staged = await self._stage(remote, shipment)
                except AwayError as exc:
                    # Nor would the others come.
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
        with self._watch(f"fetch {_title(shipment)}", size) as advance:
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
            with self._watch(f"upload {_title(shipment)}", size) as advance:

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
            self._ledger.sent(shipment, self._clock())
        except asyncio.CancelledError:
            stop.set()
            raise
        except LocalFileChangedError as exc:
            self._ledger.restart(shipment, self._new_batch())
            self._remove(shipment)
            self._damaged.append(shipment)
            self._report.notes.append(f"{exc}: it has to be fetched again")
        except (ConfigurationError, PermanentError, TransientError) as exc:
            self._fail(shipment, size, f"{exc}; it stays staged for the next run")
        else:
            self._add(TransferOutcome.SENT, shipment, size)
            self._remove(shipment)

    def _remove(self, shipment: Shipment) -> None:
        try:
            self._staging.remove(shipment)
        except TransientError as exc:
            self._report.notes.append(f"{exc}: it is left behind, until the next run")

    def _report_plan(
        self, host: str, resumed: Sequence[Shipment], new: Sequence[PlannedShipment]
    ) -> None:
        for shipment in resumed:
            self._add(
                TransferOutcome.NEW, shipment, self._fetcher.size(shipment), "to be gone on with"
            )
        for each in new:
            files = len(each.files) if each.is_pack else None
            self._report.add(TransferResult(TransferOutcome.NEW, host, each.path, each.size, files))

    def _report_damaged(self) -> None:
        """Tell of damaged files that this run could not replace."""
        for shipment in self._damaged:
            if self._ledger.state(shipment.number) is not ShipmentState.SENT:
                self._fail(
                    shipment, shipment.size or 0, "it was damaged here, and is not here again"
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


def _words(host: Host, exc: Exception) -> Iterator[str]:
    """Say what went wrong with a machine."""
    if isinstance(exc, ExceptionGroup):
        for each in exc.exceptions:
            yield from _words(host, each)
    elif isinstance(exc, ConfigurationError | PermanentError | TransientError):
        yield str(exc)
    else:
        # What is unforeseen may quote anything: it is told by its kind and place alone.
        where = traceback.extract_tb(exc.__traceback__)[-1]
        yield (
            f"{host}: {type(exc).__name__} in {Path(where.filename).name}, "
            f"line {where.lineno}: report it; what is staged stays for the next run"
        )


def _left_out(source: TransferSource, listing: Listing) -> Iterator[str]:
    for why in listing.closed[:_TOLD]:
        yield f"{source}: left out: {why}"
    if len(listing.closed) > _TOLD:
        yield f"{source}: left out: {len(listing.closed) - _TOLD} more"


def _title(shipment: Shipment) -> str:
    return shown(base_name(shipment.path)) or shipment.host
