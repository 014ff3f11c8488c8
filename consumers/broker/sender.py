"""Sending notifications that no store sends: lost ones, and dead ones once more."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from consumers.broker.address import BrokerAddress
from consumers.broker.topology import Topology
from events.routes import Route


class Sender(Protocol):
    """Puts notifications into the routes' queues. Belongs to one thread.

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

    def depth(self, route: Route) -> int:
        """Count the route's messages, waiting or delayed.

        SQS counts approximately, and also what a consumer has in hand;
        RabbitMQ does not tell what is in hand.

        Raises:
            BrokerLostError: The broker can't be reached, or refuses.
            MissingQueueError: One of the route's queues is not there.
        """


def open_sender(
    address: BrokerAddress, topology: Topology | None = None
) -> AbstractContextManager[Sender]:
    """Send to the broker of the address for as long as the block runs.

    It connects with its first request.

    Args:
        address: Where the broker is; it tells its kind.
        topology: What bootstrap made, of a RabbitMQ; None for the defaults.
    """
    if address.is_amqp:
        from consumers.broker.amqp_sender import open_amqp_sender  # noqa: PLC0415

        return open_amqp_sender(address, topology or Topology(address.prefix))
    # Only here, as botocore is large.
    from consumers.broker.sqs_sender import open_sqs_sender  # noqa: PLC0415

    return open_sqs_sender(address)
