"""A dramatiq worker with an actor that does nothing."""
# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

from consumers.broker.topology import QueueSpec
from tests.bench.consumption.counter import Consumed, DeliveryCounter
from tests.bench.consumption.messages import RawMessage, key_in, notifications

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
