"""Sending what no store sends: notifications that were lost or dead, and review items."""

from __future__ import annotations

from typing import Protocol

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
