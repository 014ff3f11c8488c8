"""Connecting to the broker, of whichever kind its address names.

What serves SQS is imported only for it: botocore is large.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from functools import partial

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_dead_letters import AmqpDeadLetterWalk
from consumers.broker.amqp_inbox import AmqpSettings, open_amqp_inbox
from consumers.broker.amqp_sender import AmqpSender
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
    """Connect, and begin to consume; topology and settings are RabbitMQ's.

    Raises:
        TransientError: The broker is unreachable or refuses.
    """
    if address.is_amqp:
        return open_amqp_inbox(
            address, route, prefetch=prefetch, topology=topology, settings=settings
        )
    from consumers.broker.sqs_inbox import open_sqs_inbox  # noqa: PLC0415

    return open_sqs_inbox(address, route, prefetch=prefetch)


def open_sender(address: BrokerAddress, topology: Topology) -> AbstractContextManager[Sender]:
    """Open a sender, which connects with its first request; SQS needs no topology."""
    if address.is_amqp:
        return closing(AmqpSender(address, topology))
    from consumers.broker.sqs_queues import SqsQueues  # noqa: PLC0415

    return closing(SqsQueues(address))


def make_dead_letter_queues(address: BrokerAddress) -> DeadLetterQueues:
    """Make the dead-letter queues of a broker."""
    if address.is_amqp:
        return DeadLetterQueues(partial(AmqpDeadLetterWalk, address))
    from consumers.broker.sqs_dead_letters import SqsDeadLetterWalk  # noqa: PLC0415

    return DeadLetterQueues(partial(SqsDeadLetterWalk, address))
