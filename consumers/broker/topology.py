"""What is declared on a RabbitMQ: one exchange, and for each route its queues.

Everything is declared only by bootstrap; consumers look whether it is there.

Queues are replicated (quorum queues), and dead-letter at least once: RabbitMQ
forgets a message only after the queue it goes to has it. See RabbitMQ's
documentation, "Quorum Queues" and "At-Least-Once Dead Lettering".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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

#: How often a message may come back without a verdict; then it is one that
#: kills its consumers. A lost connection counts too, for all that is in hand.
DELIVERY_LIMIT = 20

_UNLIMITED = 2_000_000_000

#: Seconds after which the long work of a dead consumer comes again.
LEASE_RETURN = 10.0

#: Seconds after which RabbitMQ deletes a lease queue that nobody touched: far
#: longer than what lies in it takes to return.
_LEASE_QUEUE_EXPIRES = 86_400

#: Seconds for which the review queue keeps a message: nobody has to read it, and as
#: long as SQS keeps one at most.
_REVIEW_EXPIRES = 14 * 86_400


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue, and what RabbitMQ is told of it.

    Attributes:
        name: Its name.
        arguments: RabbitMQ's ``x-arguments``.
    """

    name: str
    arguments: dict[str, object]


@dataclass(frozen=True, slots=True)
class Topology:
    """The exchange and the queues of a deployment.

    Attributes:
        prefix: What the names begin with.
        delays: Seconds; a delay queue is made for each.
        delivery_limit: How often a message may come back without a verdict.
    """

    prefix: str
    delays: tuple[float, ...]
    delivery_limit: int = DELIVERY_LIMIT

    def queues(self, route: Route) -> tuple[QueueSpec, ...]:
        """List the route's queues: each after those to which its messages go."""
        dead = QueueSpec(
            dead_letter_queue_name(self.prefix, route),
            # Looking at a letter counts as a return, and RabbitMQ 4 has a limit of its own.
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
        """Describe the queue that tells other systems of review items.

        What they do not take in time is forgotten, as they can have it from the bucket.
        """
        return QueueSpec(
            review_queue_name(self.prefix),
            {
                "x-queue-type": "quorum",
                "x-message-ttl": _REVIEW_EXPIRES * 1000,
                # RabbitMQ 4 would throw away what a reader gave back 20 times.
                "x-delivery-limit": _UNLIMITED,
            },
        )

    def lease_queue(self, route: Route, holder: str) -> QueueSpec:
        """Describe the queue that a consumer makes for itself once its work is long."""
        return QueueSpec(
            lease_queue_name(self.prefix, route, holder),
            {
                **_dead_lettered_to(queue_name(self.prefix, route)),
                "x-message-ttl": round(LEASE_RETURN * 1000),
                "x-expires": _LEASE_QUEUE_EXPIRES * 1000,
            },
        )

    def delay_queue(self, route: Route, seconds: float) -> str:
        """Name the queue whose delay is the shortest that is long enough, or the longest."""
        enough = [delay for delay in self.delays if delay >= seconds]
        return delay_queue_name(self.prefix, route, min(enough, default=max(self.delays)))


def _dead_lettered_to(queue: str) -> dict[str, object]:
    """Send what expires, or comes back too often, to a queue by the default exchange."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        # Which at-least-once asks for; no queue has a length limit that would reject.
        "x-overflow": "reject-publish",
    }


def declare_queue(channel: Any, spec: QueueSpec) -> None:
    """Make a queue, unless it is there.

    Raises:
        PreconditionFailed: It is there with other arguments.
    """
    channel.queue_declare(spec.name, durable=True, auto_delete=False, arguments=spec.arguments)


def declare_topology(
    address: BrokerAddress,
    topology: Topology,
    *,
    routes: Sequence[Route] = ROUTES,
    dry_run: bool = False,
) -> Iterator[tuple[str, bool]]:
    """Make what is missing.

    Args:
        address: A RabbitMQ's.
        topology: What is to be there.
        routes: Whose queues.
        dry_run: Only look.

    Yields:
        A thing that is to be there, and whether it was missing.

    Raises:
        ConfigurationError: It is there in another form, or the user may not make it.
        BrokerLostError: RabbitMQ can't be reached.
    """
    exchange = exchange_name(topology.prefix)
    with connected(make_connection(address, heartbeat=60, connect_timeout=5)) as connection:
        channel = connection.default_channel
        what = f"exchange {exchange}"
        missing = _is_missing(connection, "exchange_declare", exchange, type="topic")
        # What is there is declared in a dry run, too: that changes nothing, and
        # fails if it is there in another form.
        if not (dry_run and missing):
            with _explained(what):
                channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
        yield what, missing
        for route in routes:
            for spec in topology.queues(route):
                yield _ensure_queue(connection, spec, dry_run=dry_run)
            if not dry_run:
                name = queue_name(topology.prefix, route)
                channel.queue_bind(name, exchange, rule_id(topology.prefix, route))
        yield _ensure_queue(connection, topology.review_queue(), dry_run=dry_run)
        connection.close()


def _ensure_queue(connection: Any, spec: QueueSpec, *, dry_run: bool) -> tuple[str, bool]:
    what = f"queue {spec.name}"
    missing = _is_missing(connection, "queue_declare", spec.name)
    if not (dry_run and missing):
        with _explained(what):
            declare_queue(connection.default_channel, spec)
    return what, missing


def count_messages(address: BrokerAddress, queues: Sequence[str]) -> dict[str, int]:
    """Count what lies in queues of which some may not be there: these are left out.

    Raises:
        BrokerLostError: RabbitMQ can't be reached.
    """
    counts = {}
    with connected(make_connection(address, heartbeat=60, connect_timeout=5)) as connection:
        for name in queues:
            with connection.channel() as channel, suppress(NotFound):
                counts[name] = int(channel.queue_declare(name, passive=True).message_count)
        connection.close()
    return counts


def check_topology(channel: Any, topology: Topology, route: Route) -> None:
    """See that each queue of the route is there.

    Raises:
        MissingQueueError: One is not.
    """
    for spec in topology.queues(route):
        try:
            channel.queue_declare(spec.name, passive=True)
        except NotFound as exc:
            raise MissingQueueError(
                f"queue {spec.name} is not there: run dropscribe bootstrap"
            ) from exc


@contextmanager
def perhaps_absent(route: Route) -> Iterator[None]:
    """Do without the route's queue where it may not be there: the block then ends early.

    Raises:
        MissingQueueError: It has to be there.
    """
    try:
        yield
    except MissingQueueError:
        if not route.is_optional:
            raise


def _is_missing(connection: Any, declare: str, name: str, **kwargs: Any) -> bool:
    """Look for an exchange or a queue, on a channel that is lost where there is none."""
    with connection.channel() as channel:
        try:
            getattr(channel, declare)(name, passive=True, **kwargs)
        except NotFound:
            return True
        return False


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except PreconditionFailed as exc:
        raise ConfigurationError(
            f"{what} is there in another form; drain and delete it, or choose another "
            f"BROKER_PREFIX: {exc.reply_text}"
        ) from exc
    except AccessRefused as exc:
        raise ConfigurationError(
            f"{what} may not be made by the user of BROKER_URL: {exc.reply_text}"
        ) from exc
