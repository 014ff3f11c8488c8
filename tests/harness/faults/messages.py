"""Messages lost, shuffled and made up in a RabbitMQ's queues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp


class Tamperer:
    """Changes the content of queues without the consumers' knowledge.

    Args:
        url: ``amqp://USER:PASSWORD@HOST:PORT/VHOST``.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    def lose(self, queue: str) -> bool:
        """Take the first message away; False where there is none."""
        with self._channel() as channel:
            return channel.basic_get(queue, no_ack=True) is not None

    def take_all(self, queue: str) -> list[str]:
        """Take all that is there, and give the bodies."""
        bodies = []
        with self._channel() as channel:
            while message := channel.basic_get(queue):
                bodies.append(_text(message.body))
                channel.basic_ack(message.delivery_tag)
        return bodies

    def shuffle(self, queue: str, number: int, chance: Random) -> int:
        """Take messages, and put them back in another order; says how many."""
        with self._channel() as channel:
            taken = [message for _ in range(number) if (message := channel.basic_get(queue))]
            for message in chance.sample(taken, len(taken)):
                channel.basic_publish(message, routing_key=queue)
                channel.basic_ack(message.delivery_tag)
            return len(taken)

    def put(self, queue: str, body: str, times: int = 1) -> None:
        """Send a message, as often as is said."""
        with self._channel() as channel:
            for _ in range(times):
                channel.basic_publish(amqp.Message(body, delivery_mode=2), routing_key=queue)

    def count(self, queue: str) -> int:
        """Count the messages that wait in a queue."""
        with self._channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        connection = amqp.Connection(
            self._url.netloc.rpartition("@")[2],
            userid=unquote(self._url.username or ""),
            password=unquote(self._url.password or ""),
            virtual_host=unquote(self._url.path[1:]),
            confirm_publish=True,
            connect_timeout=5,
            read_timeout=20,
            write_timeout=20,
        )
        connection.connect()
        try:
            with connection.channel() as channel:
                yield channel
        finally:
            connection.close()


def _text(body: str | bytes) -> str:
    """Give a body as text: the library does so only where the sender said how it is encoded."""
    return body if isinstance(body, str) else body.decode()
