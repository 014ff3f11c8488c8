"""The exchange and the queues on RabbitMQ.

Only bootstrap declares them; consumers check that they exist.

Queues are replicated (quorum queues), and dead-letter at least once: RabbitMQ
forgets a message only after the queue it goes to has it. See RabbitMQ's
documentation, "Quorum Queues" and "At-Least-Once Dead Lettering".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import connected, make_connection
from consumers.broker.errors import MissingQueueError
from consumers.errors import ConfigurationError
from events.routes import (
    ROUTES,
    Route,
    dead_letter_queue_name,
    delay_queue_name,
    exchange_name,
    lease_queue_name,
    queue_name,
    review_queue_name,
    rule_id,
)

#: How often a message may be redelivered without a verdict before it is taken for one
#: that crashes its consumers. A lost connection counts too, for all deliveries in hand.
DELIVERY_LIMIT = 20

_UNLIMITED = 2_000_000_000

#: Seconds until RabbitMQ redelivers the long work of a dead consumer.
LEASE_RETURN = 10.0

#: Seconds until RabbitMQ deletes an unused lease queue: far longer than its messages
#: take to return.
_LEASE_QUEUE_EXPIRES = 86_400

#: Seconds for which the review queue, which nobody has to read, keeps a message: SQS'
#: own maximum.
_REVIEW_EXPIRES = 14 * 86_400


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable queue: its name, and its ``x-arguments``."""

    name: str
    arguments: dict[str, object]

    def declare(self, channel: Any, *, passive: bool = False) -> Any:
        """Declare it, or only look for it, and return its counts of messages and consumers.

        Raises:
            NotFound: It was looked for, and does not exist.
            PreconditionFailed: It exists with other arguments.
        """
        return channel.queue_declare(
            self.name, passive=passive, durable=True, auto_delete=False, arguments=self.arguments
        )


@dataclass(frozen=True, slots=True)
class Topology:
    """The exchange and the queues of a deployment.

    Attributes:
        prefix: The first part of the names.
        delays: Seconds; each has a delay queue.
        delivery_limit: See `DELIVERY_LIMIT`.
    """

    prefix: str
    delays: tuple[float, ...]
    delivery_limit: int = DELIVERY_LIMIT

    def queues(self, route: Route) -> tuple[QueueSpec, ...]:
        """List the route's queues: each after those that its messages move to."""
        dead = QueueSpec(
            dead_letter_queue_name(self.prefix, route),
            # Reading a dead letter counts as a redelivery, of which RabbitMQ 4 allows 20.
            {"x-queue-type": "quorum", "x-delivery-limit": _UNLIMITED},
        )
        main = QueueSpec(
            queue_name(self.prefix, route),
            {**_dead_lettered_to(dead.name), "x-delivery-limit": self.delivery_limit},
        )
        delays = (
            QueueSpec(
                delay_queue_name(self.prefix, route, seconds),
                {**_dead_lettered_to(main.name), "x-message-ttl": round(seconds * 1000)},
            )
            for seconds in self.delays
        )
        return (dead, main, *delays)

    def review_queue(self) -> QueueSpec:
        """Describe the queue that announces review items to other systems.

        RabbitMQ may forget a message: the bucket has the items, too.
        """
        return QueueSpec(
            review_queue_name(self.prefix),
            {
                "x-queue-type": "quorum",
                "x-message-ttl": _REVIEW_EXPIRES * 1000,
                # By default RabbitMQ 4 drops a message that was given back 20 times.
                "x-delivery-limit": _UNLIMITED,
            },
        )

    def lease_queue(self, route: Route, holder: str) -> QueueSpec:
        """Describe the queue that a consumer declares for itself once its work is long."""
        return QueueSpec(
            lease_queue_name(self.prefix, route, holder),
            {
                **_dead_lettered_to(queue_name(self.prefix, route)),
                "x-message-ttl": round(LEASE_RETURN * 1000),
                "x-expires": _LEASE_QUEUE_EXPIRES * 1000,
            },
        )

    def delay_queue(self, route: Route, seconds: float) -> str:
        """Name the queue of the shortest sufficient delay, or else of the longest."""
        enough = [delay for delay in self.delays if delay >= seconds]
        return delay_queue_name(self.prefix, route, min(enough, default=max(self.delays)))


def _dead_lettered_to(queue: str) -> dict[str, object]:
    """Have RabbitMQ move expired and too often redelivered messages to a queue."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        # The strategy requires it; without a length limit no queue ever rejects.
        "x-overflow": "reject-publish",
    }


def declare_topology(
    address: BrokerAddress,
    topology: Topology,
    *,
    routes: Sequence[Route] = ROUTES,
    dry_run: bool = False,
) -> Iterator[tuple[str, bool]]:
    """Declare the exchange and the queues of ``routes``; in a dry run, only look.

    Yields:
        The kind and name of each, and whether it was missing.

    Raises:
        ConfigurationError: One exists with other arguments, or the user may not declare it.
        BrokerLostError: RabbitMQ is unreachable.
    """
    exchange = exchange_name(topology.prefix)
    with connected(make_connection(address, heartbeat=60, connect_timeout=5)) as connection:
        ensured = partial(_ensured, connection, dry_run=dry_run)
        yield ensured(f"exchange {exchange}", partial(_declare_exchange, exchange))
        for route in routes:
            for spec in topology.queues(route):
                yield ensured(f"queue {spec.name}", spec.declare)
            if not dry_run:
                name = queue_name(topology.prefix, route)
                rule = rule_id(topology.prefix, route)
                connection.default_channel.queue_bind(name, exchange, rule)
        review = topology.review_queue()
        yield ensured(f"queue {review.name}", review.declare)
        connection.close()


def _declare_exchange(exchange: str, channel: Any, *, passive: bool = False) -> None:
    channel.exchange_declare(exchange, "topic", passive=passive, durable=True, auto_delete=False)


def _ensured(
    connection: Any, what: str, declare: Callable[..., object], *, dry_run: bool
) -> tuple[str, bool]:
    """Declare an exchange or a queue, and return its name, and whether it was missing."""
    missing = False
    # RabbitMQ closes the channel if it is.
    with connection.channel() as channel:
        try:
            declare(channel, passive=True)
        except NotFound:
            missing = True
    # Declaring what exists changes nothing, and fails if its form differs: so a dry run
    # does it, too.
    if dry_run and missing:
        return what, missing
    try:
        declare(connection.default_channel)
    except PreconditionFailed as exc:
        raise ConfigurationError(
            f"{what} already exists with other arguments; drain and delete it, or choose another "
            f"BROKER_PREFIX: {exc.reply_text}"
        ) from exc
    except AccessRefused as exc:
        raise ConfigurationError(
            f"the user of BROKER_URL has no permission to declare {what}: {exc.reply_text}"
        ) from exc
    return what, missing


def count_messages(address: BrokerAddress, queues: Sequence[str]) -> dict[str, int]:
    """Count the messages of each queue that exists."""
    counts = {}
    with connected(make_connection(address, heartbeat=60, connect_timeout=5)) as connection:
        for name in queues:
            with connection.channel() as channel, suppress(NotFound):
                counts[name] = int(channel.queue_declare(name, passive=True).message_count)
        connection.close()
    return counts


def check_topology(channel: Any, topology: Topology, route: Route) -> None:
    """Raise `MissingQueueError` unless each queue of the route exists."""
    for spec in topology.queues(route):
        try:
            spec.declare(channel, passive=True)
        except NotFound as exc:
            raise MissingQueueError(
                f"queue {spec.name} does not exist: run dropscribe bootstrap"
            ) from exc
