"""Sending what no store sends: notifications that were lost or dead, and review items."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from consumers.broker.address import BrokerAddress
from consumers.broker.topology import Topology
from events.routes import Route


class Sender(Protocol):
    """Puts messages into queues. Belongs to one thread.

    After an error it can be asked again: it connects anew.
    """

    def send(self, route: Route, body: str | bytes) -> None:
        """Put one notification into the route's queue, as a first attempt.

        When it returns, the broker has it.

        Raises:
            BrokerLostError: The broker can't be reached, or refuses.
            MissingQueueError: The route's queue is not there.
            PermanentError: The broker takes no such body, ever.
        """

    def announce(self, queue: str, body: str) -> None:
        """Put one message for other systems into the queue of that name, to be kept.

        When it returns, the broker has it.

        Args:
            queue: Its name.
            body: JSON.

        Raises:
            BrokerLostError: The broker can't be reached, or refuses.
            MissingQueueError: The queue is not there.
            PermanentError: The broker takes no such body, ever.
        """

    def depth(self, route: Route) -> int:
        """Count the route's messages, waiting or delayed.

        SQS counts approximately, and also what a consumer has in hand;
        RabbitMQ does not tell what is in hand.

        Raises:
            BrokerLostError: The broker can't be reached, or refuses.
            MissingQueueError: One of the route's queues is not there.
        """


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
