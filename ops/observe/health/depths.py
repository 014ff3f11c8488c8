"""Depths and consumers of queues, on any broker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import NotFound

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import connected, make_connection
from consumers.broker.errors import MissingQueueError
from consumers.broker.sqs_queues import SqsQueues
from events.routes import Route, dead_letter_queue_name, queue_name, review_queue_name
from ops.observe.health.context import CheckContext

#: SQS' attributes of messages that wait; those in flight have another.
_SQS_DEPTH = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The state of a queue.

    Attributes:
        messages: The number of waiting messages; approximate on SQS.
        consumers: The number of consumers; None on SQS, which does not know.
    """

    messages: int
    consumers: int | None


def queue_names(context: CheckContext, route: Route) -> list[str]:
    """Name a route's queues, including RabbitMQ's delay queues."""
    if context.broker.is_amqp:
        return [spec.name for spec in context.topology.queues(route)]
    prefix = context.broker.prefix
    return [queue_name(prefix, route), dead_letter_queue_name(prefix, route)]


def read_depths(context: CheckContext, routes: Sequence[Route]) -> Mapping[str, QueueDepth | None]:
    """Read the depths of all queues, without taking messages; None for a missing queue.

    Raises:
        BrokerLostError: The broker is unreachable, or denies access.
    """
    address = context.broker
    names = [name for route in routes for name in queue_names(context, route)]
    names.append(review_queue_name(address.prefix))
    if address.is_amqp:
        with _opened(address) as connection:
            return {name: _amqp_depth(connection, name) for name in names}
    with closing(SqsQueues(address)) as queues:
        return {name: _sqs_depth(queues, name) for name in names}


def _amqp_depth(connection: Any, name: str) -> QueueDepth | None:
    # RabbitMQ closes the channel if the queue is missing.
    with connection.channel() as channel:
        try:
            answer = channel.queue_declare(name, passive=True)
        except NotFound:
            return None
        return QueueDepth(int(answer.message_count), int(answer.consumer_count))


def _sqs_depth(queues: SqsQueues, name: str) -> QueueDepth | None:
    try:
        return QueueDepth(queues.count(name, *_SQS_DEPTH), None)
    except MissingQueueError:
        return None


def has_exchange(address: BrokerAddress, exchange: str) -> bool:
    """Whether RabbitMQ has a topic exchange.

    Raises:
        BrokerLostError: The broker is unreachable, or denies access.
    """
    with _opened(address) as connection, connection.channel() as channel:
        try:
            channel.exchange_declare(exchange, "topic", passive=True)
        except NotFound:
            return False
        return True


@contextmanager
def _opened(address: BrokerAddress) -> Iterator[Any]:
    with connected(make_connection(address, heartbeat=10, connect_timeout=4.0)) as connection:
        yield connection
        connection.close()
