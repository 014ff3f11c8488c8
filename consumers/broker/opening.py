"""Opening an inbox, or the dead letters, on whatever broker there is."""

from __future__ import annotations

from collections.abc import Callable

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp import AmqpSettings, open_amqp_inbox
from consumers.broker.dead import DeadLetters
from consumers.broker.delivery import Delivery
from consumers.broker.inbox import Inbox
from consumers.broker.topology import Topology
from events.routes import Route


def open_inbox(
    address: BrokerAddress,
    route: Route,
    *,
    prefetch: int,
    receive: Callable[[Delivery], None],
    topology: Topology,
    settings: AmqpSettings,
) -> Inbox:
    """Connect to the broker of the address, and begin to consume.

    Args:
        address: Where the broker is; it tells its kind.
        route: Whose deliveries.
        prefetch: The most deliveries in hand at a time.
        receive: Called with each delivery. It must not raise.
        topology: What bootstrap made, of a RabbitMQ.
        settings: How a connection to a RabbitMQ is kept.

    Raises:
        TransientError: The broker can't be reached, or refuses.
    """
    if address.is_amqp:
        return open_amqp_inbox(
            address,
            route,
            prefetch=prefetch,
            receive=receive,
            topology=topology,
            settings=settings,
        )
    # Only here, as botocore is large.
    from consumers.broker.sqs import open_sqs_inbox  # noqa: PLC0415

    return open_sqs_inbox(address, route, prefetch=prefetch, receive=receive)


def make_dead_letters(address: BrokerAddress) -> DeadLetters:
    """Lead to the dead-letter queues of the broker of the address.

    It connects with each request, and for each walk.
    """
    if address.is_amqp:
        from consumers.broker.amqp_dead import AmqpDeadLetters  # noqa: PLC0415

        return AmqpDeadLetters(address)
    # Only here, as botocore is large.
    from consumers.broker.sqs_dead import SqsDeadLetters  # noqa: PLC0415

    return SqsDeadLetters(address)
