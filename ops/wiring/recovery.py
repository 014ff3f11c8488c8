"""Sweep, rebuild and reprocess, put together from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from consumers.broker.connect import open_sender
from consumers.database.batches import BatchRepository
from consumers.database.pool import Pool
from consumers.database.rebuild import RebuildRepository
from consumers.database.review_items import ReviewItemRepository
from consumers.database.review_queue import ReviewQueueRepository
from consumers.database.sweep import DEFAULT_AGES, Ages, SweepRepository
from consumers.stages.completion import Completion
from consumers.store import Store
from consumers.store.scratch import Scratch
from ops.recovery.rebuild.rebuilder import THREADS, Rebuilder
from ops.recovery.rebuild.review_restorer import ReviewRestorer
from ops.recovery.reprocess import Reprocessor
from ops.recovery.resend import Resender
from ops.recovery.sweep.sweeper import Sweeper
from ops.wiring.adapters import make_store, make_topology, open_pool
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import read_broker_address, read_scratch_root


@contextmanager
def open_rebuilder(environment: Environment, log: Any) -> Iterator[Rebuilder]:
    """Open the rebuilder, which writes rows again from the bucket."""
    store = make_store(environment)
    # One more connection holds a lock.
    with open_pool(environment, connections=THREADS + 1) as pool:
        yield _make_rebuilder(environment, store, pool, log)


@contextmanager
def open_reprocessor(environment: Environment, log: Any) -> Iterator[Reprocessor]:
    """Open the reprocessor, which does batches again."""
    store = make_store(environment)
    with (
        open_pool(environment, connections=4) as pool,
        _open_resender(environment, store, pool) as resender,
    ):
        database = BatchRepository(pool)
        yield Reprocessor(
            store=store,
            database=database,
            rows=RebuildRepository(pool),
            resender=resender,
            completion=Completion(store, database, log),
            scratch=Scratch(read_scratch_root(environment)),
        )


@contextmanager
def open_sweeper(
    environment: Environment, log: Any, ages: Ages = DEFAULT_AGES
) -> Iterator[Sweeper]:
    """Open the sweeper, which finds and repairs discrepancies."""
    store = make_store(environment)
    with (
        # One more connection holds the sweep's lock, one the lock of a batch that is rebuilt.
        open_pool(environment, connections=THREADS + 2) as pool,
        _open_resender(environment, store, pool, ages) as resender,
    ):
        database = BatchRepository(pool)
        yield Sweeper(
            store=store,
            database=database,
            rows=SweepRepository(pool, ages),
            resender=resender,
            completion=Completion(store, database, log),
            rebuilder=_make_rebuilder(environment, store, pool, log),
            ages=ages,
        )


def _make_rebuilder(environment: Environment, store: Store, pool: Pool, log: Any) -> Rebuilder:
    database, rows = BatchRepository(pool), RebuildRepository(pool)
    scratch = Scratch(read_scratch_root(environment))
    reviews = ReviewRestorer(
        store=store,
        itemising=ReviewItemRepository(pool),
        reviewing=ReviewQueueRepository(pool),
        rows=rows,
        scratch=scratch,
    )
    return Rebuilder(
        store=store,
        database=database,
        rows=rows,
        completion=Completion(store, database, log),
        reviews=reviews,
        scratch=scratch,
    )


@contextmanager
def _open_resender(
    environment: Environment, store: Store, pool: Pool, ages: Ages = DEFAULT_AGES
) -> Iterator[Resender]:
    address = read_broker_address(environment)
    with open_sender(address, make_topology(environment)) as sender:
        yield Resender(store.bucket, sender, SweepRepository(pool, ages), PIPELINE.routes)
