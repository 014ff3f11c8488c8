"""A soak run: drop archives and inject faults, then drain, and audit the results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from amqp.exceptions import AMQPError

from consumers.errors import TransientError
from tests.harness.deployment.cluster import Cluster, open_cluster
from tests.harness.deployment.deployment import open_deployment, open_servers
from tests.harness.servers.grounds import grounds
from tests.soak.drain import Drained, drain
from tests.soak.faults import FAULTS, Fault, happened, heal
from tests.soak.report import SoakReport

#: Consumers of each route.
_WORKERS = 2

#: Faults that can be under way at the same time.
_AT_ONCE = 4

#: Called with the archives dropped, and the faults injected, so far.
Show = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a run."""

    batches: int
    seconds: float
    faults: int
    recordings: int


def soak(scale: Scale, seed: int, show: Show, log: Any) -> SoakReport:
    """Run a soak test.

    Args:
        seed: Determines archives and faults.
    """
    # Two, so that the archives do not depend on the faults.
    archives, faults = Random(seed), Random(seed + 1)
    with _running_cluster(faults) as cluster:
        begun = time.monotonic()
        injected = _break(cluster, scale, archives, faults, show)
        minutes = (time.monotonic() - begun) / 60
        injected.update(happened(cluster))
        heal(cluster)
        drained = drain(cluster, log)
        cluster.fleet.stop()
        return _report(cluster, seed, minutes, injected, drained)


@contextmanager
def _running_cluster(chance: Random) -> Iterator[Cluster]:
    with ExitStack() as stack:
        place = stack.enter_context(grounds("soak", ports=0))
        servers = stack.enter_context(open_servers())
        deployed = stack.enter_context(open_deployment(servers, chance))
        cluster = stack.enter_context(open_cluster(deployed, place.folder))
        for route in deployed.routes:
            for _ in range(_WORKERS):
                cluster.fleet.add(route.name)
        yield cluster


def _break(
    cluster: Cluster, scale: Scale, archives: Random, faults: Random, show: Show
) -> Counter[str]:
    """Drop archives at an even pace, and inject faults at another, until the time is up."""
    injected: Counter[str] = Counter()
    pending: dict[Future[bool | None], Fault] = {}
    begun = time.monotonic()
    dropped = chosen = 0
    with ThreadPoolExecutor(_AT_ONCE, "fault") as executor:
        while (passed := (time.monotonic() - begun) / scale.seconds) < 1 or pending:
            if dropped < min(1.0, passed) * scale.batches:
                cluster.drop(archives, recordings=archives.randrange(1, scale.recordings + 1))
                dropped += 1
            if passed < 1 and chosen < passed * scale.faults and len(pending) < _AT_ONCE * 2:
                fault = faults.choices(FAULTS, [each.weight for each in FAULTS])[0]
                # A generator of its own, as threads would use a shared one in any order.
                dice = Random(faults.random())
                pending[executor.submit(fault.inject, cluster, dice)] = fault
                chosen += 1
            for future in wait(pending, timeout=0.05).done:
                fault = pending.pop(future)
                if _was_injected(future) and not fault.is_armed:
                    injected[fault.name] += 1
            cluster.fleet.tend()
            show(dropped, injected.total())
    return injected


def _was_injected(future: Future[bool | None]) -> bool:
    """Tell whether a fault was injected, or another one had its server in hand."""
    try:
        return future.result() is not False
    except (OSError, AMQPError, TransientError):
        return False


def _report(
    cluster: Cluster, seed: int, minutes: float, injected: Counter[str], drained: Drained
) -> SoakReport:
    return SoakReport(
        seed=seed,
        minutes=round(minutes, 2),
        drain_seconds=round(drained.seconds, 1),
        faults=dict(injected.most_common()),
        restarts=cluster.fleet.restarts,
        repaired=dict(drained.repaired),
        replayed=dict(drained.replayed),
        discarded=drained.discarded,
        audit=cluster.audit(),
        left_in_queues=cluster.left_in_queues(),
        left_in_scratch=[str(path) for path in cluster.fleet.left_in_scratch()],
    )
