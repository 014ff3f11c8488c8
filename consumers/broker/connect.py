"""Connecting to the broker, of whichever kind its address names."""

from __future__ import annotations

from contextlib import AbstractContextManager

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_inbox import AmqpSettings, open_amqp_inbox
from consumers.broker.dead_letters import DeadLetterQueues
from consumers.broker.inbox import Inbox
from consumers.broker.sender import Sender
from consumers.broker.topology import Topology
from events.routes import Route


def open_inbox(
    address: BrokerAddress,
    route: Route,
    *,
    prefetch: int,
    topology: Topology,
    settings: AmqpSettings,
) -> Inbox:
    """Connect to the broker of the address, and begin to consume.

    Args:
        address: Where the broker is; it tells its kind.
        route: Whose deliveries.
        prefetch: The most deliveries in hand at a time.
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
            topology=topology,
            settings=settings,
        )
    # Only here, as botocore is large.
    from consumers.broker.sqs_inbox import open_sqs_inbox  # noqa: PLC0415

    return open_sqs_inbox(address, route, prefetch=prefetch)


def open_sender(address: BrokerAddress, topology: Topology) -> AbstractContextManager[Sender]:
    """Send to the broker of the address for as long as the block runs.

    It connects with its first request.

    Args:
        address: Where the broker is; it tells its kind.
        topology: The queues that bootstrap declared on a RabbitMQ.
    """
    if address.is_amqp:
        from consumers.broker.amqp_sender import open_amqp_sender  # noqa: PLC0415

        return open_amqp_sender(address, topology)
    # Only here, as botocore is large.
    from consumers.broker.sqs_sender import open_sqs_sender  # noqa: PLC0415

    return open_sqs_sender(address)


def make_dead_letter_queues(address: BrokerAddress) -> DeadLetterQueues:
    """Lead to the dead-letter queues of the broker of the address.

    It connects with each request, and for each walk.
    """
    if address.is_amqp:
        from consumers.broker.amqp_dead_letters import AmqpDeadLetterQueues  # noqa: PLC0415

        return AmqpDeadLetterQueues(address)
    # Only here, as botocore is large.
    from consumers.broker.sqs_dead_letters import SqsDeadLetterQueues  # noqa: PLC0415

    return SqsDeadLetterQueues(address)
