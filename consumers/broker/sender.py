"""Sending to queues: notifications that were lost or dead, and review items."""

from __future__ import annotations

from typing import Protocol

from events.routes import Route


class Sender(Protocol):
    """Puts messages into queues. Belongs to one thread; reconnects after an error.

    Every method raises `BrokerLostError` if the broker is unreachable or refuses, and
    `MissingQueueError` if a queue does not exist; `send` and `announce` raise
    `PermanentError` if the broker will never accept the body. The broker has the message
    once they return.
    """

    def send(self, route: Route, body: str | bytes) -> None:
        """Put one notification into the route's queue, as a first attempt."""

    def announce(self, queue: str, body: str) -> None:
        """Put one message, JSON for other systems, into the queue of that name."""

    def depth(self, route: Route) -> int:
        """Count the route's messages, waiting or delayed.

        SQS counts approximately, and includes those in a consumer's hand; RabbitMQ does
        not report these.
        """
