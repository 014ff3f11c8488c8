"""Sending to queues on RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import PATIENCE, AmqpSession
from consumers.broker.errors import BrokerLostError, MissingQueueError
from consumers.broker.publishing import publish
from consumers.broker.topology import Topology
from events.routes import Route, dead_letter_queue_name, queue_name

#: AMQP's reply code for a message that no queue takes.
_NO_ROUTE = 312


class AmqpSender:
    """A sender on RabbitMQ."""

    def __init__(self, session: AmqpSession, topology: Topology) -> None:
        self._session = session
        self._topology = topology

    def send(self, route: Route, body: str | bytes) -> None:
        """Put one notification into the route's queue, confirmed."""
        self._publish(queue_name(self._topology.prefix, route), body)

    def announce(self, queue: str, body: str) -> None:
        """Put one message into a queue, confirmed."""
        self._publish(queue, body)

    def depth(self, route: Route) -> int:
        """Count the messages in the route's queue and in its delay queues."""
        dead = dead_letter_queue_name(self._topology.prefix, route)
        names = [spec.name for spec in self._topology.queues(route) if spec.name != dead]
        with self._session.request() as channel:
            return sum(channel.queue_declare(name, passive=True).message_count for name in names)

    def _publish(self, queue: str, body: str | bytes) -> None:
        """Publish, and wait for the confirm; kombu's messages are persistent."""
        try:
            with self._session.request() as channel:
                publish(channel, body, queue, mandatory=True, confirm_timeout=PATIENCE)
        except BrokerLostError as exc:
            if getattr(exc.__cause__, "reply_code", None) == _NO_ROUTE:
                raise MissingQueueError(
                    f"queue {queue} does not exist: run dropscribe bootstrap"
                ) from exc
            raise


@contextmanager
def open_amqp_sender(address: BrokerAddress, topology: Topology) -> Iterator[AmqpSender]:
    """Open a sender with a connection of its own, closed at the end of the block."""
    session = AmqpSession(address)
    try:
        yield AmqpSender(session, topology)
    finally:
        session.close()
