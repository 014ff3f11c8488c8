"""The queues: their consumers, their depths, and their dead letters, on any broker."""

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
from ops.observe.health.context import ERRORS, CheckContext
from ops.observe.health.result import Level, Remark

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


def check_queues(context: CheckContext) -> Iterator[Remark]:
    """Check each route's consumers, waiting messages and dead letters.

    The age of the oldest comes from the database (see `stages`), as brokers do not provide
    it: SQS reports it to CloudWatch only, and RabbitMQ only to a client that fetches the
    message, which a quorum queue counts as a failed delivery.
    """
    prefix, routes = context.broker.prefix, context.routes
    depths = read_depths(context, routes)
    figures: dict[str, Any] = {"messages": {}, "consumers": {}, "dead": {}}
    for route in routes:
        main = depths[queue_name(prefix, route)]
        dead = depths[dead_letter_queue_name(prefix, route)]
        if main is None or dead is None:
            what = f"{route.name}: its queues are missing"
            yield Remark(Level.CRITICAL, what, "dropscribe bootstrap")
            continue
        waiting = sum(
            depth.messages
            for name in _queue_names(context, route)
            if (depth := depths[name]) is not None and depth is not dead
        )
        figures["messages"][route.name] = waiting
        figures["dead"][route.name] = dead.messages
        if main.consumers is not None:
            figures["consumers"][route.name] = main.consumers
        yield from _remarks(route, main, waiting, dead)
    figures["oldest_seconds"] = _oldest(context)
    said = ", ".join(f"{name} {number}" for name, number in figures["messages"].items())
    yield Remark(Level.OK, f"waiting: {said}", figures=figures)


def _remarks(route: Route, main: QueueDepth, waiting: int, dead: QueueDepth) -> Iterator[Remark]:
    if main.consumers == 0:
        yield Remark(
            Level.CRITICAL if waiting else Level.WARNING,
            f"{route.name}: no consumer, {waiting} waiting",
            f"systemctl start dropscribe@{route.name} on a host that has it, or "
            f"dropscribe consume {route.name}",
        )
    if dead.messages:
        yield Remark(
            Level.WARNING,
            f"{route.name}: {dead.messages} dead letters",
            f"dropscribe dead list --route {route.name}, and once the cause is fixed "
            f"dropscribe dead replay --route {route.name}",
        )


def _oldest(context: CheckContext) -> Mapping[str, float]:
    try:
        return {backlog.route: backlog.oldest or 0.0 for backlog in context.database.backlogs()}
    except ERRORS:
        return {}


def _queue_names(context: CheckContext, route: Route) -> list[str]:
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
    names = [name for route in routes for name in _queue_names(context, route)]
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
