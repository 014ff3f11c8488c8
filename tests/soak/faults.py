"""The faults of a soak run: each a function that does one of them, for real."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from events.keys import AudioId, BatchId
from events.notification import encode
from ops.wiring.adapters import utc_now
from tests.harness.deployment.cluster import Cluster
from tests.harness.deployment.consumer import POISON
from tests.harness.deployment.deployment import Deployment
from tests.harness.faults.clock import one_hour_off
from tests.harness.faults.database_relay import Moment
from tests.harness.faults.death import DeathPoint
from tests.harness.faults.store_proxy import Misbehaviour
from tests.harness.servers.process import RestartableServer

#: Seconds to wait for a message that something can be done to.
_PATIENCE = 5.0


#: Does a fault; False where there was nothing to do it to.
Inject = Callable[[Cluster, Random], bool | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        weight: How often it is chosen, beside the others.
        is_armed: Whether injecting it only arms it, and a consumer triggers it later.
    """

    name: str
    weight: int
    inject: Inject
    is_armed: bool = False


def _queue(cluster: Cluster, chance: Random) -> str:
    """Choose a route's queue."""
    return cluster.queue(chance.choice(cluster.deployment.routes))


def _told(batch: BatchId, ordinal: int, chance: Random) -> tuple[str, str]:
    """Choose a route, and the key of its event for a batch and one of its recordings."""
    audio = AudioId(batch, ordinal)
    return chance.choice(
        [
            ("unpack", batch.archive_key),
            ("transcribe", audio.opus_key),
            ("moderate", audio.transcript_key),
            ("review", batch.complete_key),
        ]
    )


def _double(cluster: Cluster, chance: Random) -> bool | None:
    if not cluster.plans:
        return False
    batch = chance.choice(list(cluster.plans))
    ordinal = chance.randrange(1, len(cluster.plans[batch].states) + 1)
    _tell(cluster, *_told(batch, ordinal, chance), chance.randrange(1, 6))
    return True


def _tell(cluster: Cluster, route: str, key: str, times: int = 1) -> None:
    cluster.messages.put(cluster.queue(route), encode(cluster.store.bucket, key), times)


def _once_there(inject: Inject) -> Inject:
    """Try for some seconds: a queue is empty most of the time."""

    def patient(cluster: Cluster, chance: Random) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while not (done := inject(cluster, chance)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return bool(done)

    return patient


def _tell_of_nothing(cluster: Cluster, chance: Random) -> None:
    days = timedelta(days=chance.randrange(1, 300))
    _tell(cluster, *_told(BatchId.new(utc_now() - days, secrets.token_bytes(3)), 0, chance))


def _tell_early(cluster: Cluster, chance: Random) -> None:
    """Announce an archive, and store it only a second later."""
    batch = BatchId.new(utc_now(), secrets.token_bytes(3))
    record = json.loads(encode(cluster.store.bucket, batch.archive_key))
    record["Records"][0]["eventTime"] = utc_now().isoformat()
    cluster.messages.put(cluster.queue("unpack"), json.dumps(record))
    time.sleep(1.0)
    cluster.drop(chance, recordings=2, batch=batch)


def _garble(cluster: Cluster, chance: Random) -> None:
    body = chance.choice(["no JSON at all", '{"Records": 7}', "{}", "\ud7ff\x00", "[]"])
    cluster.messages.put(_queue(cluster, chance), body)


def _restart(server: Callable[[Deployment], RestartableServer], *, may_stop: bool = True) -> Inject:
    """Kill or stop a server, and start it again."""

    def inject(cluster: Cluster, chance: Random) -> None:
        ended = server(cluster.deployment)
        with cluster.restarting:
            ended.stop() if may_stop and chance.random() >= 0.5 else ended.kill()
            ended.start()

    return inject


def _cut_broker(least: float, most: float) -> Inject:
    def inject(cluster: Cluster, chance: Random) -> None:
        relay = cluster.deployment.to_broker
        relay.cut()
        time.sleep(chance.uniform(least, most))
        relay.mend()

    return inject


def _cut_statement(statement: str, moment: Moment) -> Inject:
    return lambda cluster, _: cluster.deployment.to_database.cut_at(statement, moment)


def _die_at(point: DeathPoint) -> Inject:
    return lambda cluster, _: cluster.deaths.allow(point)


def _fill_disk(cluster: Cluster, chance: Random) -> None:
    cluster.disk.fill()
    time.sleep(chance.uniform(1.0, 4.0))
    cluster.disk.clear()


def _cut_archive(cluster: Cluster, chance: Random) -> None:
    cluster.drop(chance, recordings=chance.randrange(2, 5), cut=True)


def _wrong_clock(cluster: Cluster, chance: Random) -> bool:
    """Start a consumer whose clock is one hour off: it has to see it, and end."""
    consumer = cluster.fleet.start(
        chance.choice(cluster.deployment.routes).name, **one_hour_off(ahead=chance.random() < 0.5)
    )
    try:
        return cluster.fleet.ended(consumer, seconds=60) == 1
    finally:
        cluster.fleet.dismiss(consumer)


def _store_fault(
    name: str, weight: int, fault: Misbehaviour, method: str | None = None, key: str = ""
) -> Fault:
    def inject(cluster: Cluster, chance: Random) -> None:
        times = chance.randrange(1, 4)
        cluster.deployment.to_store.fail(fault, times=times, method=method, key=key)

    return Fault(f"store: {name}", weight, inject, is_armed=True)


#: What is chosen from, each as often as its weight says.
FAULTS: tuple[Fault, ...] = (
    Fault("consumer killed", 12, lambda c, chance: chance.choice(c.fleet.consumers).process.kill()),
    *(Fault(f"dies: {point}", 3, _die_at(point), is_armed=True) for point in DeathPoint),
    Fault("events doubled", 12, _double),
    Fault("event lost", 10, _once_there(lambda c, chance: c.messages.lose(_queue(c, chance)))),
    Fault(
        "events shuffled",
        8,
        _once_there(lambda c, chance: c.messages.shuffle(_queue(c, chance), 10, chance) > 1),
    ),
    Fault("event of no object", 6, _tell_of_nothing),
    Fault("event before its object", 4, _tell_early),
    Fault("message that is no event", 6, _garble),
    Fault(
        "message that kills",
        1,
        lambda c, chance: _tell(c, chance.choice(c.deployment.routes).name, POISON),
    ),
    Fault("broker restarted", 2, _restart(lambda deployed: deployed.servers.node)),
    Fault("broker cut off, up to 10 s", 2, _cut_broker(1.0, 10.0)),
    Fault("broker cut off, 30 s", 1, _cut_broker(30.0, 30.0)),
    Fault("broker's connections reset", 4, lambda c, _: c.deployment.to_broker.reset()),
    Fault("database restarted", 3, _restart(lambda deployed: deployed.servers.postgres)),
    Fault("database's connections reset", 4, lambda c, _: c.deployment.to_database.reset()),
    *(
        Fault(f"{statement} cut {moment}", 5, _cut_statement(pattern, moment), is_armed=True)
        for moment in Moment
        for statement, pattern in (("COMMIT", "^COMMIT"), ("completion", "UPDATE batches"))
    ),
    Fault("store restarted", 2, _restart(lambda deployed: deployed.servers.store, may_stop=False)),
    _store_fault("500", 8, Misbehaviour.INTERNAL_ERROR),
    _store_fault("503", 8, Misbehaviour.SLOW_DOWN),
    _store_fault("no answer", 3, Misbehaviour.HANG),
    _store_fault("reset", 4, Misbehaviour.RESET),
    _store_fault("answer lost", 5, Misbehaviour.LOSE_ANSWER, "PUT"),
    _store_fault("upload cut", 5, Misbehaviour.CUT_UPLOAD, "PUT"),
    _store_fault("download cut", 6, Misbehaviour.CUT_DOWNLOAD, "GET"),
    _store_fault("download ended", 4, Misbehaviour.END_DOWNLOAD, "GET"),
    _store_fault("download shortened", 4, Misbehaviour.SHORTEN_DOWNLOAD, "GET", r"\.(opus|tar)$"),
    Fault("scratch full", 5, _fill_disk),
    Fault("archive cut short", 4, _cut_archive),
    Fault("clock one hour off", 1, _wrong_clock),
)


def happened(cluster: Cluster) -> Counter[str]:
    """Count the armed faults that were triggered."""
    deployed = cluster.deployment
    return Counter(
        {f"dies: {point}": times for point, times in cluster.deaths.done().items()}
        | {f"store: {fault}": times for fault, times in deployed.to_store.hits.items()}
        | {f"statement cut {moment}": n for moment, n in deployed.to_database.hits.items()}
    )


def heal(cluster: Cluster) -> None:
    """Disarm all faults, mend all relays, and make room on the disk."""
    cluster.deaths.forbid()
    cluster.deployment.to_store.heal()
    cluster.deployment.to_database.heal()
    cluster.deployment.to_broker.mend()
    cluster.disk.clear()
