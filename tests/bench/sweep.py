"""`sweep`: looking through an archive that is all in order, against listing it and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import Any, cast

from consumers.broker.sender import Sender
from consumers.database.batches import BatchRepository
from consumers.database.migrate import migrate
from consumers.database.pool import Pool, open_pool
from consumers.database.sweep import Ages, SweepRepository
from consumers.stages.completion import Completion
from consumers.store import Store
from events.keys import ARCHIVES, PROCESSED
from events.routes import Route
from ops.recovery.rebuild.rebuilder import Rebuilder
from ops.recovery.resend import Resender
from ops.recovery.sweep.run import SweepTools
from ops.recovery.sweep.sweeper import Sweeper
from ops.wiring.adapters import make_store
from ops.wiring.environment import Environment
from ops.wiring.log import quiet_log
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import StoreSettings
from tests.bench.benchmark import (
    Case,
    Conditions,
    DisagreementError,
    Goal,
    PreparedBenchmark,
    benchmark,
)
from tests.bench.listing_server import Shape, listing_server
from tests.bench.timing import timed_case
from tests.harness.servers.ceph import CephGateway, ceph
from tests.harness.servers.postgres import PostgresServer, postgres
from tests.harness.servers.store import boto_client, store_settings

_BUCKET = "benchmark"

#: Recordings of each batch; two objects each, and three of its own.
_RECORDINGS = 1000

#: Batches of the archive that is only listed, and of the one that is stored.
_LISTED, _STORED = 500, 5

#: Objects that are put at a time.
_PUTS = 16

#: What a sweep may take, against the listing.
_LIMIT = 1.5

_AGES = Ages(older_than=timedelta(), again_after=timedelta(hours=6))


@benchmark("sweep", "looking through an archive that is all in order, against listing alone")
def sweep(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    batches = conditions.scaled(_LISTED)
    listed = Shape(batches, _RECORDINGS)
    stored = Shape(min(batches, _STORED), _RECORDINGS)
    cases, goals = [], []
    with (
        postgres() as server,
        listing_server(listed) as endpoint,
        _stored(stored) as gateway,
        ExitStack() as pools,
    ):
        for where, shape, settings in (
            ("pages from memory", listed, store_settings(endpoint, "key", "key")),
            ("Ceph", stored, gateway.settings),
        ):
            name = f"{where}, {shape.objects:,} objects"
            environment = Environment({**settings, "S3_BUCKET": _BUCKET})
            cases += pools.enter_context(_cases(name, shape, environment, server))
            goals.append(Goal(f"sweep: {name}", f"listing: {name}", "at most", _LIMIT))
        yield PreparedBenchmark("s", cases, goals, _agree, ("boto3", "psycopg"))


@contextmanager
def _cases(
    name: str, shape: Shape, environment: Environment, server: PostgresServer
) -> Iterator[list[Case]]:
    url = server.database()
    migrate(url)
    shape.put_rows(url)
    with closing(open_pool(url, size=4, name="bench")) as pool:
        sweeper = _sweeper(make_store(environment), pool)
        client = boto_client("s3", StoreSettings.read(environment))
        pages = client.get_paginator("list_objects_v2")

        def listing() -> int:
            return sum(
                len(page.get("Contents", ()))
                for prefix in (ARCHIVES, PROCESSED)
                for page in pages.paginate(Bucket=_BUCKET, Prefix=prefix)
            )

        def full_sweep() -> int:
            report = sweeper.sweep()
            if report is None or report.tallies:
                raise DisagreementError(f"the sweep found {report and report.to_json()}")
            return report.archives + report.objects

        yield [timed_case(f"listing: {name}", listing), timed_case(f"sweep: {name}", full_sweep)]


def _agree(numbers: Mapping[str, int]) -> Mapping[str, float]:
    """Make sure that a sweep saw all that is listed."""
    for name, number in numbers.items():
        case = name.replace("listing: ", "sweep: ", 1)
        if numbers[case] != number:
            raise DisagreementError(f"{case}: {numbers[case]} objects, and listed are {number}")
    return {}


class _NoQueues:
    def depth(self, _: Route) -> int:
        return 0


def _sweeper(store: Store, pool: Pool) -> Sweeper:
    database, rows = BatchRepository(pool), SweepRepository(pool, _AGES)
    log: Any = quiet_log()
    tools = SweepTools(
        store=store,
        database=database,
        rows=rows,
        resender=Resender(store.bucket, cast("Sender", _NoQueues()), rows, PIPELINE.routes),
        completion=Completion(store, database, log),
        # Nothing has to be rebuilt.
        rebuilder=cast("Rebuilder", None),
    )
    return Sweeper(tools, _AGES)


@contextmanager
def _stored(shape: Shape) -> Iterator[CephGateway]:
    """Put an archive's objects, which are empty, into a store of its own."""
    with ceph() as gateway:
        client = boto_client("s3", gateway)
        client.create_bucket(Bucket=_BUCKET)
        with ThreadPoolExecutor(_PUTS) as executor:
            for keys in (shape.archives, shape.processed):
                for _ in executor.map(lambda key: client.put_object(Bucket=_BUCKET, Key=key), keys):
                    pass
        yield gateway
