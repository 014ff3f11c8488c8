"""Consumers with a handler that does nothing, each run as its makers recommend."""
# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from kombu import Connection, Consumer, Queue

from consumers.broker.topology import QueueSpec
from consumers.runtime.loop import Loop, Stop
from events.event import ObjectCreated
from events.routes import route_named
from ops.observe.metrics.consumer import ConsumerMetrics
from ops.observe.metrics.liveness import LoopHealth
from ops.wiring.adapters import open_inbox
from ops.wiring.environment import Environment
from ops.wiring.log import configure_log
from ops.wiring.settings import LoopSettings
from tests.bench.event_messages import Consumed, DeliveryCounter, RawMessage, key_in, notifications


class Idle:
    """A handler that only counts."""

    def __init__(self, group: int, tally: DeliveryCounter) -> None:
        self.group = group
        self._tally = tally

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        """Count the events."""
        for event in events:
            self._tally.add(event.key)
        return [None] * len(events)

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Do nothing: nothing fails."""


def consume_by_dropscribe(
    variables: Mapping[str, str], route: str, group: int, log: Path, count: str
) -> Consumed:
    """Take messages with log lines and figures.

    Args:
        group: Events per call of the handler; as many are prefetched.
    """
    environment, whose, stop = Environment(variables), route_named(route), Stop()
    tally = DeliveryCounter(int(count), stop.asked.set)
    with log.open("a") as file:
        Loop(
            route=whose,
            handler=Idle(group, tally),
            open_inbox=open_inbox(environment, whose),
            log=configure_log(file),
            delays=LoopSettings.read(environment).delays,
            observer=ConsumerMetrics(version("dropscribe")).observer(LoopHealth(route)),
        ).run(stop)
    return tally.taken


def consume_by_kombu(url: str, queue: str, prefetch: int, count: str) -> Consumed:
    """Take a number of messages."""
    tally = DeliveryCounter(int(count))

    def on_message(message: Any) -> None:
        tally.add(key_in(json.loads(message.body)))
        message.ack()

    queues = [Queue(queue, no_declare=True)]
    with (
        Connection(url) as connection,
        Consumer(connection, queues, on_message=on_message, prefetch_count=prefetch),
    ):
        while not tally.is_full:
            connection.drain_events()
    return tally.taken


_TASK = "nothing"


def celery_messages(count: int) -> Iterator[RawMessage]:
    """Make notifications as arguments of Celery's messages (protocol 2)."""
    from celery import Celery  # noqa: PLC0415

    app = Celery(set_as_current=False)
    for each in notifications(count):
        made = app.amqp.as_task_v2(str(uuid4()), _TASK, args=(each,), kwargs={})
        yield RawMessage(
            json.dumps(made.body),
            {
                "application_headers": made.headers,
                "content_type": "application/json",
                "content_encoding": "utf-8",
                **made.properties,
            },
        )


def consume_by_celery(url: str, queue: str, prefetch: int, count: str) -> Consumed:
    """Take messages without gossip, mingling and events, which a single worker does not need.

    Its pool ``solo`` is the fastest where tasks take no time, as it hands nothing over.
    """
    from celery.platforms import SecurityWarning  # noqa: PLC0415
    from celery.worker import state  # noqa: PLC0415

    # Tests may run as root.
    warnings.simplefilter("ignore", SecurityWarning)
    # Once all that was taken is acked.
    tally = DeliveryCounter(int(count), lambda: setattr(state, "should_stop", 0))
    state.should_stop = None
    _make_app(url, queue, prefetch, tally).Worker(
        pool="solo",
        loglevel="ERROR",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    ).start()
    return tally.taken


def _make_app(url: str, queue: str, prefetch: int, tally: DeliveryCounter) -> Any:
    from celery import Celery  # noqa: PLC0415
    from kombu import Queue  # noqa: PLC0415

    app = Celery(broker=url, set_as_current=False)
    app.conf.update(
        task_queues=[Queue(queue, no_declare=True, queue_arguments={"x-queue-type": "quorum"})],
        task_acks_late=True,
        task_ignore_result=True,
        worker_concurrency=1,
        worker_prefetch_multiplier=prefetch,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )

    def nothing(notification: dict[str, Any]) -> None:
        tally.add(key_in(notification))

    app.task(name=_TASK)(nothing)
    return app


_ACTOR = "nothing"


def dramatiq_queue(name: str) -> QueueSpec:
    """Describe a queue as dramatiq declares it, but replicated."""
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.XQ"}
    return QueueSpec(name, {**dead, "x-queue-type": "quorum"})


def dramatiq_messages(queue: str, count: int) -> Iterator[RawMessage]:
    """Make notifications as arguments of dramatiq's messages."""
    from dramatiq import Message  # noqa: PLC0415

    for each in notifications(count):
        yield RawMessage(Message(queue, _ACTOR, (each,), {}, {}).encode())


def consume_by_dramatiq(url: str, queue: str, prefetch: int, count: str) -> Consumed:
    """Take messages with one thread, as the others have, and dramatiq's own middleware."""
    # Read when dramatiq is imported.
    os.environ["dramatiq_queue_prefetch"] = str(prefetch)  # noqa: SIM112
    from dramatiq import Worker, actor  # noqa: PLC0415

    full = threading.Event()
    tally = DeliveryCounter(int(count), full.set)
    broker = _make_broker(url)
    actor(actor_name=_ACTOR, queue_name=queue, broker=broker)(
        lambda notification: tally.add(key_in(notification))
    )
    worker = Worker(broker, worker_threads=1)
    worker.start()
    full.wait()
    worker.stop()
    broker.close()
    return tally.taken


def _make_broker(url: str) -> Any:
    from dramatiq.brokers.rabbitmq import RabbitmqBroker  # noqa: PLC0415

    class QuorumBroker(RabbitmqBroker):
        """A broker whose queues are replicated."""

        def _build_queue_arguments(self, queue_name: str) -> dict[str, object]:
            return dramatiq_queue(queue_name).arguments

    return QuorumBroker(url=url)
