"""Sending to queues on RabbitMQ."""

from __future__ import annotations

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import PATIENCE, AmqpSession
from consumers.broker.delivery import publish
from consumers.broker.errors import BrokerLostError, MissingQueueError
from consumers.broker.topology import Topology
from events.routes import Route, dead_letter_queue_name, queue_name

#: AMQP's reply code for a message that no queue takes.
_NO_ROUTE = 312


class AmqpSender:
    """A `Sender` on RabbitMQ, over a connection of its own."""

    def __init__(self, address: BrokerAddress, topology: Topology) -> None:
        self._session = AmqpSession(address)
        self._topology = topology

    def send(self, route: Route, body: str | bytes) -> None:
        """See `Sender`."""
        self.announce(queue_name(self._topology.prefix, route), body)

    def announce(self, queue: str, body: str | bytes) -> None:
        """See `Sender`. kombu's messages are persistent."""
        try:
            with self._session.request() as channel:
                publish(channel, body, queue, mandatory=True, confirm_timeout=PATIENCE)
        except BrokerLostError as exc:
            if getattr(exc.__cause__, "reply_code", None) == _NO_ROUTE:
                raise MissingQueueError(
                    f"queue {queue} does not exist: run dropscribe bootstrap"
                ) from exc
            raise

    def depth(self, route: Route) -> int:
        """See `Sender`."""
        dead = dead_letter_queue_name(self._topology.prefix, route)
        queues = [spec for spec in self._topology.queues(route) if spec.name != dead]
        with self._session.request() as channel:
            return sum(spec.declare(channel, passive=True).message_count for spec in queues)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
