"""Sweep, rebuild and reprocess, put together from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from consumers.broker.connect import open_sender
from consumers.database.batches import BatchRepository
from consumers.database.sweep import DEFAULT_AGES, Ages, SweepRepository
from consumers.stages.completion import Completion
from consumers.store import Store
from consumers.store.scratch import Scratch
from ops.recovery.rebuild.rebuilder import THREADS, Rebuilder
from ops.recovery.reprocess import Reprocessor
from ops.recovery.resend import Resender
from ops.recovery.sweep.run import SweepTools
from ops.recovery.sweep.sweeper import Sweeper
from ops.wiring.adapters import make_store, make_topology, open_pool
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import ScratchSettings, read_broker_address


@contextmanager
def open_rebuilder(environment: Environment, log: Any) -> Iterator[Rebuilder]:
    """Open the rebuilder, which writes rows again from the bucket."""
    store, scratch = make_store(environment), _make_scratch(environment)
    # One more connection holds a lock.
    with open_pool(environment, connections=THREADS + 1) as pool:
        yield Rebuilder(store, pool, scratch, log)


@contextmanager
def open_reprocessor(environment: Environment, log: Any) -> Iterator[Reprocessor]:
    """Open the reprocessor, which does batches again."""
    store, scratch = make_store(environment), _make_scratch(environment)
    with (
        open_pool(environment, connections=4) as pool,
        _open_resender(environment, store, SweepRepository(pool)) as resender,
    ):
        yield Reprocessor(store, pool, resender, scratch, log)


@contextmanager
def open_sweeper(
    environment: Environment, log: Any, ages: Ages = DEFAULT_AGES
) -> Iterator[Sweeper]:
    """Open the sweeper, which finds and repairs discrepancies."""
    store, scratch = make_store(environment), _make_scratch(environment)
    with (
        # One more connection holds the sweep's lock, one the lock of a batch that is rebuilt.
        open_pool(environment, connections=THREADS + 2) as pool,
        _open_resender(environment, store, rows := SweepRepository(pool, ages)) as resender,
    ):
        database = BatchRepository(pool)
        tools = SweepTools(
            store=store,
            database=database,
            rows=rows,
            resender=resender,
            completion=Completion(store, database, log),
            rebuilder=Rebuilder(store, pool, scratch, log),
        )
        yield Sweeper(tools, ages)


def _make_scratch(environment: Environment) -> Scratch:
    return Scratch(ScratchSettings.read(environment).scratch_root)


@contextmanager
def _open_resender(
    environment: Environment, store: Store, rows: SweepRepository
) -> Iterator[Resender]:
    address = read_broker_address(environment)
    with open_sender(address, make_topology(environment)) as sender:
        yield Resender(store.bucket, sender, rows, PIPELINE.routes)
