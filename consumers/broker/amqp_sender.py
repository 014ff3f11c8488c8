"""Sending to the routes' queues on RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_session import PATIENCE, AmqpSession
from consumers.broker.publishing import publish
from consumers.broker.topology import Topology
from events.routes import Route, dead_letter_queue_name, queue_name


class AmqpSender:
    """A sender on RabbitMQ."""

    def __init__(self, session: AmqpSession, topology: Topology) -> None:
        self._session = session
        self._topology = topology

    def send(self, route: Route, body: str | bytes) -> None:
        """Put one notification into the route's queue, confirmed."""
        with self._session.request() as channel:
            publish(
                channel,
                body,
                queue_name(self._topology.prefix, route),
                mandatory=True,
                confirm_timeout=PATIENCE,
            )

    def depth(self, route: Route) -> int:
        """Count what waits in the route's queue and in its delay queues."""
        dead = dead_letter_queue_name(self._topology.prefix, route)
        names = [spec.name for spec in self._topology.queues(route) if spec.name != dead]
        with self._session.request() as channel:
            return sum(channel.queue_declare(name, passive=True).message_count for name in names)


@contextmanager
def open_amqp_sender(address: BrokerAddress, topology: Topology) -> Iterator[AmqpSender]:
    """Send for as long as the block runs."""
    session = AmqpSession(address)
    try:
        yield AmqpSender(session, topology)
    finally:
        session.close()
