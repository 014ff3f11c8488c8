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
from tests.harness.faults.clock import one_hour_off
from tests.harness.faults.database_relay import Moment
from tests.harness.faults.death import DeathPoint
from tests.harness.faults.store_proxy import Misbehaviour

#: Seconds to wait for a message that something can be done to.
_PATIENCE = 5.0

#: The most seconds that the broker is cut off, in a run and once in a while.
_CUT = (1.0, 10.0)
_LONG_CUT = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        weight: How often it is chosen, beside the others.
        inject: Does it; false cluster there was nothing to do it to.
        is_armed: Whether injecting it only arms it, and a consumer triggers it later.
    """

    name: str
    weight: int
    inject: Callable[[Cluster, Random], bool]
    is_armed: bool = False


def _kill_consumer(cluster: Cluster, chance: Random) -> bool:
    chance.choice(cluster.fleet.consumers).process.kill()
    return True


def _die_at(point: DeathPoint) -> Callable[[Cluster, Random], bool]:
    def inject(cluster: Cluster, chance: Random) -> bool:
        del chance
        cluster.deaths.allow(point)
        return True

    return inject


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


def _double(cluster: Cluster, chance: Random) -> bool:
    if not cluster.plans:
        return False
    batch = chance.choice(list(cluster.plans))
    ordinal = chance.randrange(1, len(cluster.plans[batch].states) + 1)
    route, key = _told(batch, ordinal, chance)
    body = encode(cluster.store.bucket, key)
    cluster.messages.put(cluster.queue(route), body, chance.randrange(1, 6))
    return True


def _lose(cluster: Cluster, chance: Random) -> bool:
    return _once_there(lambda: cluster.messages.lose(_queue(cluster, chance)))


def _shuffle(cluster: Cluster, chance: Random) -> bool:
    return _once_there(lambda: cluster.messages.shuffle(_queue(cluster, chance), 10, chance) > 1)


def _once_there(inject: Callable[[], bool]) -> bool:
    """Try for some seconds: a queue is empty most of the time."""
    deadline = time.monotonic() + _PATIENCE
    while not inject():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _tell_of_nothing(cluster: Cluster, chance: Random) -> bool:
    batch = BatchId.new(
        utc_now() - timedelta(days=chance.randrange(1, 300)), secrets.token_bytes(3)
    )
    route, key = _told(batch, 0, chance)
    cluster.messages.put(cluster.queue(route), encode(cluster.store.bucket, key))
    return True


def _tell_early(cluster: Cluster, chance: Random) -> bool:
    """Announce an archive, and store it only a second later."""
    batch = BatchId.new(utc_now(), secrets.token_bytes(3))
    record = json.loads(encode(cluster.store.bucket, batch.archive_key))
    record["Records"][0]["eventTime"] = utc_now().isoformat()
    cluster.messages.put(cluster.queue("unpack"), json.dumps(record))
    time.sleep(1.0)
    cluster.drop(chance, recordings=2, batch=batch)
    return True


def _garble(cluster: Cluster, chance: Random) -> bool:
    body = chance.choice(["no JSON at all", '{"Records": 7}', "{}", "\ud7ff\x00", "[]"])
    cluster.messages.put(_queue(cluster, chance), body)
    return True


def _restart_broker(cluster: Cluster, chance: Random) -> bool:
    node = cluster.deployment.node
    with cluster.restarting:
        node.kill() if chance.random() < 0.5 else node.stop()
        node.start()
    return True


def _cut_broker(seconds: tuple[float, float]) -> Callable[[Cluster, Random], bool]:
    def inject(cluster: Cluster, chance: Random) -> bool:
        relay = cluster.deployment.to_broker
        relay.cut()
        time.sleep(chance.uniform(*seconds))
        relay.mend()
        return True

    return inject


def _reset_broker(cluster: Cluster, chance: Random) -> bool:
    del chance
    cluster.deployment.to_broker.reset()
    return True


def _restart_database(cluster: Cluster, chance: Random) -> bool:
    server = cluster.deployment.postgres
    with cluster.restarting:
        server.kill() if chance.random() < 0.5 else server.stop()
        server.start()
    return True


def _cut_statement(statement: str, moment: Moment) -> Callable[[Cluster, Random], bool]:
    def inject(cluster: Cluster, chance: Random) -> bool:
        del chance
        cluster.deployment.to_database.cut_at(statement, moment)
        return True

    return inject


def _reset_database(cluster: Cluster, chance: Random) -> bool:
    del chance
    cluster.deployment.to_database.reset()
    return True


def _restart_store(cluster: Cluster, chance: Random) -> bool:
    del chance
    with cluster.restarting:
        cluster.deployment.store.kill()
        cluster.deployment.store.start()
    return True


def _mistreat(
    fault: Misbehaviour, method: str | None = None, key: str = ""
) -> Callable[[Cluster, Random], bool]:
    def inject(cluster: Cluster, chance: Random) -> bool:
        cluster.deployment.to_store.fail(
            fault, times=chance.randrange(1, 4), method=method, key=key
        )
        return True

    return inject


def _fill_disk(cluster: Cluster, chance: Random) -> bool:
    cluster.disk.fill()
    time.sleep(chance.uniform(1.0, 4.0))
    cluster.disk.clear()
    return True


def _poison(cluster: Cluster, chance: Random) -> bool:
    """Send a message that kills each process that takes it."""
    cluster.messages.put(_queue(cluster, chance), encode(cluster.store.bucket, POISON))
    return True


def _wrong_clock(cluster: Cluster, chance: Random) -> bool:
    """Start a consumer whose clock is one hour off: it has to see it, and end."""
    consumer = cluster.fleet.start(
        chance.choice(cluster.deployment.routes).name, **one_hour_off(ahead=chance.random() < 0.5)
    )
    try:
        return cluster.fleet.ended(consumer, seconds=60) == 1
    finally:
        cluster.fleet.dismiss(consumer)


def _cut_archive(cluster: Cluster, chance: Random) -> bool:
    cluster.drop(chance, recordings=chance.randrange(2, 5), cut=True)
    return True


_GET, _PUT = "GET", "PUT"

#: What is chosen from, each as often as its weight says.
FAULTS: tuple[Fault, ...] = (
    Fault("consumer killed", 12, _kill_consumer),
    *(Fault(f"dies: {point}", 3, _die_at(point), is_armed=True) for point in DeathPoint),
    Fault("events doubled", 12, _double),
    Fault("event lost", 10, _lose),
    Fault("events shuffled", 8, _shuffle),
    Fault("event of no object", 6, _tell_of_nothing),
    Fault("event before its object", 4, _tell_early),
    Fault("message that is no event", 6, _garble),
    Fault("message that kills", 1, _poison),
    Fault("broker restarted", 2, _restart_broker),
    Fault("broker cut off, up to 10 s", 2, _cut_broker(_CUT)),
    Fault("broker cut off, 30 s", 1, _cut_broker((_LONG_CUT, _LONG_CUT))),
    Fault("broker's connections reset", 4, _reset_broker),
    Fault("database restarted", 3, _restart_database),
    Fault("database's connections reset", 4, _reset_database),
    *(
        Fault(f"{statement} cut {moment}", 5, _cut_statement(pattern, moment), is_armed=True)
        for moment in Moment
        for statement, pattern in (("COMMIT", "^COMMIT"), ("completion", "UPDATE batches"))
    ),
    Fault("store restarted", 2, _restart_store),
    Fault("store: 500", 8, _mistreat(Misbehaviour.INTERNAL_ERROR), is_armed=True),
    Fault("store: 503", 8, _mistreat(Misbehaviour.SLOW_DOWN), is_armed=True),
    Fault("store: no answer", 3, _mistreat(Misbehaviour.HANG), is_armed=True),
    Fault("store: reset", 4, _mistreat(Misbehaviour.RESET), is_armed=True),
    Fault("store: answer lost", 5, _mistreat(Misbehaviour.LOSE_ANSWER, _PUT), is_armed=True),
    Fault("store: upload cut", 5, _mistreat(Misbehaviour.CUT_UPLOAD, _PUT), is_armed=True),
    Fault("store: download cut", 6, _mistreat(Misbehaviour.CUT_DOWNLOAD, _GET), is_armed=True),
    Fault("store: download ended", 4, _mistreat(Misbehaviour.END_DOWNLOAD, _GET), is_armed=True),
    Fault(
        "store: download shortened",
        4,
        _mistreat(Misbehaviour.SHORTEN_DOWNLOAD, _GET, r"\.opus$|\.tar$"),
        is_armed=True,
    ),
    Fault("scratch full", 5, _fill_disk),
    Fault("archive cut short", 4, _cut_archive),
    Fault("clock one hour off", 1, _wrong_clock),
)


def happened(cluster: Cluster) -> Counter[str]:
    """Count the armed faults that were triggered."""
    counts: Counter[str] = Counter()
    counts.update({f"dies: {point}": times for point, times in cluster.deaths.done().items()})
    counts.update(
        {f"store: {fault}": times for fault, times in cluster.deployment.to_store.hits.items()}
    )
    counts.update(
        {f"statement cut {moment}": n for moment, n in cluster.deployment.to_database.hits.items()}
    )
    return counts


def heal(cluster: Cluster) -> None:
    """Disarm all faults, and mend all relays."""
    cluster.deaths.forbid()
    cluster.deployment.to_store.heal()
    cluster.deployment.to_database.heal()
    cluster.deployment.to_broker.mend()
    cluster.disk.clear()
