"""`latency`: from a drop to its delivery, and from the last verdict to `.complete.json`.

Ceph, RabbitMQ and PostgreSQL are real, and each route has a consumer in a process of its
own; their recogniser and judge have no model. Archives of one short recording are
dropped one after the other, each once the one before is over.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

from consumers.errors import TransientError
from consumers.runtime.handler import Handler
from consumers.runtime.loop import Stop
from consumers.store import Store
from events.event import ObjectCreated
from events.keys import BatchId
from events.routes import exchange_name, route_named, rule_id
from ops.wiring.adapters import make_store
from ops.wiring.environment import Environment
from ops.wiring.log import configure_log
from ops.wiring.pipeline import PIPELINE, open_consumer
from ops.wiring.settings import read_broker_address
from tests.bench.benchmark import Case, Conditions, PreparedBenchmark, Sample, benchmark
from tests.bench.worker_process import WorkerProcess, worker_process
from tests.harness.deployment.batches import drop_recording
from tests.harness.deployment.consumer import immortal
from tests.harness.deployment.deployment import Deployment, open_deployment, open_servers
from tests.harness.faults.messages import open_channel


@dataclass(frozen=True, slots=True)
class Milestone:
    """What happened when.

    Attributes:
        what: An event was handed to the handler, or an object was sent to the store, or is there.
        at: On the machine's monotonic clock, which all processes read.
    """

    what: Literal["handed", "sent", "stored"]
    key: str
    at: float


Write = Callable[[Milestone], None]


class _NotingStore(Store):
    def __init__(self, store: Store, note: Write) -> None:
        vars(self).update(vars(store))
        self._note = note

    def write(self, key: str, *content: Any, **properties: Any) -> None:
        self._note(Milestone("sent", key, time.monotonic()))
        super().write(key, *content, **properties)
        self._note(Milestone("stored", key, time.monotonic()))


class _NotingHandler:
    def __init__(self, handler: Handler, note: Write) -> None:
        self._handler = handler
        self._note = note
        self.group = handler.group
        self.give_up = handler.give_up

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        for event in events:
            self._note(Milestone("handed", event.key, time.monotonic()))
        return self._handler.handle(events)


@contextmanager
def observed_consumer(
    variables: Mapping[str, str], route: str
) -> Iterator[Callable[[str], list[Milestone]]]:
    """Consume a route, as ``dropscribe consume`` does but without models; asked, give the notes."""
    notes: list[Milestone] = []
    adapters = replace(
        immortal(),
        store=lambda *told: _NotingStore(make_store(*told), notes.append),
        handler=lambda handler: _NotingHandler(handler, notes.append),
    )
    stop = Stop()

    def give(prefix: str) -> list[Milestone]:
        return [note for note in tuple(notes) if note.key.startswith(prefix)]

    with (
        Path(os.devnull).open("w") as nowhere,
        open_consumer(
            PIPELINE[route], Environment(variables), configure_log(nowhere), adapters
        ) as loop,
    ):
        thread = threading.Thread(target=loop.run, args=(stop,))
        thread.start()
        try:
            yield give
        finally:
            stop.asked.set()
            thread.join()


#: Drops per round: of five rounds, 25.
_DROPS = 5

#: Seconds that a batch may take. Ceph's gateway may sleep on a new topic for half a minute.
_PATIENCE = 90.0

_MILLISECONDS = 1000.0


@contextmanager
def announcements(deployed: Deployment) -> Iterator[Callable[[str], float | None]]:
    """Record when the store tells ``unpack`` of archives; yields a function from a key to the time.

    The block begins when a RabbitMQ consumer listens.
    """
    arrivals: list[tuple[float, str]] = []
    ready, is_over = threading.Event(), threading.Event()
    prefix = read_broker_address(deployed.environment).prefix

    def record(message: Any) -> None:
        body = message.body if isinstance(message.body, str) else message.body.decode()
        arrivals.append((time.monotonic(), body))

    def listen() -> None:
        with open_channel(deployed.direct["BROKER_URL"]) as channel:
            queue = channel.queue_declare(exclusive=True).queue
            binding = rule_id(prefix, route_named("unpack"))
            channel.queue_bind(queue, exchange_name(prefix), binding)
            channel.basic_consume(queue, no_ack=True, callback=record)
            ready.set()
            while not is_over.is_set():
                with suppress(TimeoutError):
                    channel.connection.drain_events(timeout=0.2)

    thread = threading.Thread(target=listen)
    thread.start()
    ready.wait(_PATIENCE)
    try:
        yield lambda key: next((at for at, body in tuple(arrivals) if key in body), None)
    finally:
        is_over.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _Drop:
    """The times of a finished batch, in seconds."""

    answered: float
    announced: float
    handed: float
    verdict_stored: float
    complete_sent: float
    complete_stored: float


@dataclass(frozen=True, slots=True)
class _Site:
    """Where archives are dropped."""

    store: Store
    folder: Path
    when_announced: Callable[[str], float | None]
    unpack: WorkerProcess
    moderate: WorkerProcess

    def drop(self) -> _Drop:
        """Drop an archive, and wait until its batch is over."""
        batch = drop_recording(self.store, self.folder, Random())
        answered = time.monotonic()
        moderated = self._await(batch)
        announced = self.when_announced(batch.archive_key)
        handed = _when(self.unpack.do(batch.archive_key).result, "handed", "")
        if announced is None or handed is None:
            raise TransientError(f"no consumer received the event of {batch.archive_key}")
        return _Drop(answered, announced, handed, *moderated)

    def _await(self, batch: BatchId) -> tuple[float, float, float]:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            time.sleep(0.05)
            notes = self.moderate.do(batch.prefix).result
            verdict = _when(notes, "stored", ".verdict.json")
            sent = _when(notes, "sent", ".complete.json")
            stored = _when(notes, "stored", ".complete.json")
            if verdict is not None and sent is not None and stored is not None:
                return verdict, sent, stored
        raise TransientError(f"{batch} was not over within {_PATIENCE:.0f} s")


def _when(notes: Sequence[Milestone], what: str, suffix: str) -> float | None:
    found = (note.at for note in notes if note.what == what and note.key.endswith(suffix))
    return next(found, None)


def _case(
    name: str, site: _Site, drops: int, figures: Callable[[_Drop], Mapping[str, float]]
) -> Case:
    """Drop some archives; the first of the figures is the value, all are medians."""

    def run() -> Sample:
        each = [figures(site.drop()) for _ in range(drops)]
        medians = {
            fact: statistics.median(_MILLISECONDS * one[fact] for one in each) for fact in each[0]
        }
        value, *_ = medians
        return Sample(medians.pop(value), medians)

    return Case(name, run)


def _delivery(drop: _Drop) -> Mapping[str, float]:
    return {
        "all": drop.handed - drop.answered,
        "of it the store's, ms": drop.announced - drop.answered,
        "ours, ms": drop.handed - drop.announced,
    }


def _completion(drop: _Drop) -> Mapping[str, float]:
    return {
        "all": drop.complete_stored - drop.verdict_stored,
        "of it the store's, ms": drop.complete_stored - drop.complete_sent,
        "ours, ms": drop.complete_sent - drop.verdict_stored,
    }


@benchmark(
    "latency",
    "from the store's answer to the handler's call, and from a batch's last verdict to its word",
)
def latency(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    drops = conditions.scaled(_DROPS)
    with ExitStack() as stack:
        servers = stack.enter_context(open_servers())
        deployed = stack.enter_context(open_deployment(servers, Random(1)))
        variables = {**deployed.direct, "SCRATCH_ROOT": str(conditions.folder)}
        consumers = {
            route.name: stack.enter_context(
                worker_process(observed_consumer, variables, route.name)
            )
            for route in deployed.routes
        }
        site = _Site(
            make_store(deployed.environment),
            conditions.folder,
            stack.enter_context(announcements(deployed)),
            consumers["unpack"],
            consumers["moderate"],
        )
        yield PreparedBenchmark(
            "ms",
            [
                _case("drop to first delivery", site, drops, _delivery),
                _case("last verdict to .complete.json", site, drops, _completion),
            ],
            packages=("kombu", "amqp", "boto3", "psycopg"),
        )
