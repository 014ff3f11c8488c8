"""`soak-memory`: the consumers' memory after many deliveries, and after ten times as many.

Each route has a consumer in a process of its own, on real servers; archives of one
recording are dropped, so that each route has one delivery of each. The recogniser and
the judge have no model: what models take does not depend on deliveries.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg

from consumers.errors import TransientError
from consumers.store import Store
from ops.wiring.adapters import make_store
from tests.bench.benchmark import (
    Case,
    Conditions,
    Goal,
    PreparedBenchmark,
    Sample,
    benchmark,
)
from tests.harness.deployment.batches import drop_recording
from tests.harness.deployment.deployment import open_deployment, open_servers
from tests.harness.deployment.fleet import FleetConsumer, open_fleet

#: Deliveries after which each consumer is looked at.
_SOME, _MANY = 1_000, 10_000

#: How much more there may be after many than after some.
_GROWTH = 1.05

#: Archives that are dropped and not over yet, at most.
_UNDER_WAY = 32

#: Seconds within which one more has to be over.
_PATIENCE = 120.0

#: Seconds between looks how many are over.
_LOOK = 0.2

_MEGABYTE = 1e6


@dataclass(slots=True)
class _Site:
    """Where archives are dropped.

    Attributes:
        megabytes: The most that each consumer had, its children too, while the last of
            them were worked on: `unpack` replaces its transcoders now and then.
    """

    store: Store
    url: str = field(repr=False)
    folder: Path
    consumers: Mapping[str, FleetConsumer]
    dropped: int = 0
    megabytes: dict[str, float] = field(default_factory=dict)

    def reach(self, deliveries: int) -> None:
        """Drop archives until each route has had this many deliveries, and none is under way.

        Raises:
            TransientError: There is no progress.
        """
        if self.dropped >= deliveries:
            return
        while self.dropped < deliveries:
            drop_recording(self.store, self.folder, Random(self.dropped))
            self.dropped += 1
            if self.dropped % _UNDER_WAY == 0:
                self._await(self.dropped - _UNDER_WAY // 2)
        self.megabytes.clear()
        self._await(deliveries)

    def _await(self, number: int) -> None:
        deadline, before = time.monotonic() + _PATIENCE, -1
        while (over := self._over()) < number:
            self._look()
            if over > before:
                deadline, before = time.monotonic() + _PATIENCE, over
            if time.monotonic() > deadline:
                raise TransientError(
                    f"after {over} of {self.dropped} batches there was none for {_PATIENCE:.0f} s"
                )
            time.sleep(_LOOK)
        self._look()

    def _look(self) -> None:
        for route in self.consumers:
            now = self._megabytes(route)
            self.megabytes[route] = max(now, self.megabytes.get(route, 0.0))

    def _over(self) -> int:
        """Count the batches that are ready for review."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM batches WHERE itemised_at IS NOT NULL"
            ).fetchone()
        return int(row[0]) if row else 0

    def _megabytes(self, route: str) -> float:
        """Measure the memory of a route's consumer and its children.

        Raises:
            TransientError: It has died.
        """
        consumer = self.consumers[route]
        if not consumer.is_alive:
            raise TransientError(f"{consumer.name} ended: {consumer.process.log_end()}")
        return consumer.process.resident_bytes() / _MEGABYTE


def _name(route: str, deliveries: int) -> str:
    return f"{route} after {deliveries:,}"


def _case(site: _Site, route: str, deliveries: int) -> Case:
    """Look at one consumer; the first case that needs more deliveries waits for them."""

    def run() -> Sample:
        site.reach(deliveries)
        return Sample(site.megabytes[route])

    return Case(_name(route, deliveries), run)


@benchmark(
    "soak-memory",
    f"resident memory of each consumer after {_SOME:,} and after {_MANY:,} deliveries",
)
def soak_memory(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    some, many = conditions.scaled(_SOME), conditions.scaled(_MANY)
    with ExitStack() as stack:
        servers = stack.enter_context(open_servers())
        deployed = stack.enter_context(open_deployment(servers, Random(1)))
        consumers = stack.enter_context(
            open_fleet(conditions.folder / "logs", conditions.folder / "scratch", deployed.direct)
        )
        routes = [route.name for route in deployed.routes]
        site = _Site(
            make_store(deployed.environment),
            deployed.url,
            conditions.folder,
            {route: consumers.add(route) for route in routes},
        )
        yield PreparedBenchmark(
            "MB",
            [_case(site, route, number) for number in (some, many) for route in routes],
            [Goal(_name(route, many), _name(route, some), "at most", _GROWTH) for route in routes],
            packages=("kombu", "amqp", "boto3", "psycopg", "av"),
            # It grows with the first, if it does.
            rounds=1,
            warms_up=False,
        )
