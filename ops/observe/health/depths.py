"""Depths and consumers of queues, on any broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from amqp.exceptions import NotFound

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import connected, make_connection
from consumers.broker.errors import MissingQueueError
from consumers.broker.sqs_queues import SqsQueues
from consumers.broker.topology import Topology
from events.routes import Route, dead_letter_queue_name, queue_name, review_queue_name

#: SQS' attributes of messages that wait; those in flight have another.
_SQS_DEPTH = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")

#: The timeout of connecting, in seconds.
_CONNECT = 4.0


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The state of a queue.

    Attributes:
        messages: The number of waiting messages; approximate on SQS.
        consumers: The number of consumers; None on SQS, which does not know.
    """

    messages: int
    consumers: int | None


def queue_names(address: BrokerAddress, topology: Topology, route: Route) -> list[str]:
    """Name a route's queues, including RabbitMQ's delay queues."""
    if address.is_amqp:
        return [spec.name for spec in topology.queues(route)]
    return [queue_name(address.prefix, route), dead_letter_queue_name(address.prefix, route)]


def all_queue_names(
    address: BrokerAddress, topology: Topology, routes: Iterable[Route]
) -> list[str]:
    """Name all queues of a deployment."""
    of_routes = [name for route in routes for name in queue_names(address, topology, route)]
    return [*of_routes, review_queue_name(address.prefix)]


def read_depths(address: BrokerAddress, names: Iterable[str]) -> Mapping[str, QueueDepth | None]:
    """Read the depths of queues, without taking messages; None for a missing queue.

    Raises:
        BrokerLostError: The broker is unreachable, or denies access.
    """
    return _amqp_depths(address, names) if address.is_amqp else _sqs_depths(address, names)


def _amqp_depths(address: BrokerAddress, names: Iterable[str]) -> Mapping[str, QueueDepth | None]:
    depths: dict[str, QueueDepth | None] = {}
    with connected(make_connection(address, heartbeat=10, connect_timeout=_CONNECT)) as connection:
        for name in names:
            # RabbitMQ closes the channel if the queue is missing.
            with connection.channel() as channel:
                try:
                    answer = channel.queue_declare(name, passive=True)
                    depths[name] = QueueDepth(int(answer.message_count), int(answer.consumer_count))
                except NotFound:
                    depths[name] = None
        connection.close()
    return depths


def _sqs_depths(address: BrokerAddress, names: Iterable[str]) -> Mapping[str, QueueDepth | None]:
    depths: dict[str, QueueDepth | None] = {}
    with closing(SqsQueues(address)) as queues:
        for name in names:
            try:
                depths[name] = QueueDepth(queues.count(name, *_SQS_DEPTH), None)
            except MissingQueueError:
                depths[name] = None
    return depths


def has_exchange(address: BrokerAddress, exchange: str) -> bool:
    """Whether RabbitMQ has a topic exchange.

    Raises:
        BrokerLostError: The broker is unreachable, or denies access.
    """
    with connected(make_connection(address, heartbeat=10, connect_timeout=_CONNECT)) as connection:
        is_there = True
        with connection.channel() as channel:
            try:
                channel.exchange_declare(exchange, "topic", passive=True)
            except NotFound:
                is_there = False
        connection.close()
        return is_there
