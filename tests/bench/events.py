"""`events`: notifications that are taken from RabbitMQ, and nothing done with them.

All are given the same 50,000, in a replicated (quorum) queue that was filled before, take
as many of them in advance, and ack each once it is handled. Timed is from the first
that the handler is given to the last.

dropscribe's consumer does all that it does in production: its own queues, a log line for
each delivery (written to a file), figures, heartbeats. Celery and dramatiq can't read what a
store sends: they get it as the argument of a message of their own, ready made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import connected, make_connection
from consumers.broker.topology import QueueSpec, Topology, declare_topology
from consumers.runtime.retry_policy import possible_delays
from events.routes import queue_name, route_named
from tests.bench.benchmark import (
    Case,
    Conditions,
    DisagreementError,
    Goal,
    PreparedBenchmark,
    Sample,
    benchmark,
)
from tests.bench.event_consumers import (
    celery_messages,
    consume_by_celery,
    consume_by_dramatiq,
    consume_by_dropscribe,
    consume_by_kombu,
    dramatiq_messages,
    dramatiq_queue,
)
from tests.bench.event_messages import Consumed, MakeMessages, fill, store_messages
from tests.bench.worker_process import ready, worker_process
from tests.harness.faults.messages import Tamperer
from tests.harness.servers.rabbitmq import rabbitmq

_COUNT = 50_000

#: Events per call of the handler, and messages that each consumer prefetches: the
#: route's default (``TRANSCRIBE_GROUP``).
_ROUTE, _GROUP = route_named("transcribe"), 32

_PREFIX = "dropscribe"
_QUEUE = queue_name(_PREFIX, _ROUTE)
_CELERY, _DRAMATIQ = "celery", "dramatiq"

_OURS, _BARE = "dropscribe", "kombu"


Consume = Callable[..., Consumed]


def _case(
    url: str, queue: str, letters: MakeMessages, name: str, consume: Consume, *given: object
) -> Case:
    """Fill the queue, and have it emptied by a process that is new."""

    def run() -> Sample:
        count = fill(url, queue, letters())
        with worker_process(ready, consume, *given) as process:
            done = process.do(str(count))
        taken: Consumed = done.result
        return Sample(
            taken.seconds,
            {"per s": taken.count / taken.seconds, **done.facts},
            output=(taken, Tamperer(url).count(queue)),
        )

    return Case(name, run)


@benchmark("events", f"{_COUNT:,} notifications on RabbitMQ through a handler that does nothing")
def events(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    # One message alone has no time from the first to the last.
    count = max(2, conditions.scaled(_COUNT))
    with rabbitmq() as node:
        url = node.vhost()
        _declare(url)
        of_store = partial(_case, url, _QUEUE, lambda: store_messages(count))
        variables = {"BROKER_URL": url, "BROKER_PREFIX": _PREFIX}
        log = conditions.folder / "consumer.log"
        yield PreparedBenchmark(
            "s",
            [
                of_store(_OURS, consume_by_dropscribe, variables, _ROUTE.name, _GROUP, log),
                of_store(_BARE, consume_by_kombu, url, _QUEUE, _GROUP),
                *(
                    _case(url, name, partial(messages, count), name, consumer, url, name, _GROUP)
                    for name, messages, consumer in (
                        (_CELERY, celery_messages, consume_by_celery),
                        (_DRAMATIQ, partial(dramatiq_messages, _DRAMATIQ), consume_by_dramatiq),
                    )
                ),
            ],
            [
                Goal(of=_BARE, to=_OURS, limit=0.8),
                Goal(of=_CELERY, to=_OURS, limit=2.0),
                Goal(of=_DRAMATIQ, to=_OURS),
            ],
            lambda outputs: _agree(outputs, count),
            ("kombu", "amqp", "celery", "dramatiq", "pika"),
        )


def _declare(url: str) -> None:
    """Make everybody's queues: ours as bootstrap does, and Celery's in the same form."""
    address = BrokerAddress.parse(url, region="", prefix=_PREFIX)
    topology = Topology(_PREFIX, possible_delays())
    for _ in declare_topology(address, topology, routes=[_ROUTE]):
        pass
    specs = {spec.name: spec for spec in topology.queues(_ROUTE)}
    with connected(make_connection(address, heartbeat=60, connect_timeout=5)) as connection:
        for spec in (QueueSpec(_CELERY, specs[_QUEUE].arguments), dramatiq_queue(_DRAMATIQ)):
            spec.declare(connection.default_channel)
        connection.close()


def _agree(outputs: Mapping[str, Any], count: int) -> Mapping[str, float]:
    """Make sure that each was given all messages, and left none."""
    for name, (taken, left) in outputs.items():
        if (taken.count, taken.distinct, left) != (count, count, 0):
            raise DisagreementError(
                f"{name} took {taken.count} messages, {taken.distinct} of them different ones, "
                f"and left {left}, of {count}"
            )
    return {}
