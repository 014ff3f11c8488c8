"""Messages lost, shuffled and made up in a RabbitMQ's queues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
        self._url = url

    def lose(self, queue: str) -> bool:
        """Take the first message away; False where there is none."""
        with open_channel(self._url) as channel:
            return channel.basic_get(queue, no_ack=True) is not None

    def take_all(self, queue: str) -> list[str]:
        """Take all that is there, and give the bodies."""
        bodies = []
        with open_channel(self._url) as channel:
            while message := channel.basic_get(queue):
                bodies.append(_text(message.body))
                channel.basic_ack(message.delivery_tag)
        return bodies

    def shuffle(self, queue: str, number: int, chance: Random) -> int:
        """Take messages, and put them back in another order; says how many."""
        with open_channel(self._url) as channel:
            taken = [message for _ in range(number) if (message := channel.basic_get(queue))]
            for message in chance.sample(taken, len(taken)):
                channel.basic_publish(message, routing_key=queue)
                channel.basic_ack(message.delivery_tag)
            return len(taken)

    def put(self, queue: str, body: str, times: int = 1) -> None:
        """Send a message, as often as is said."""
        with open_channel(self._url) as channel:
            for _ in range(times):
                channel.basic_publish(amqp.Message(body, delivery_mode=2), routing_key=queue)

    def count(self, queue: str) -> int:
        """Count the messages that wait in a queue."""
        return self.counts([queue])[queue]

    def counts(self, queues: Iterable[str]) -> dict[str, int]:
        """Count the messages that wait in each of these queues."""
        with open_channel(self._url) as channel:
            return {
                queue: int(channel.queue_declare(queue, passive=True).message_count)
                for queue in queues
            }


@contextmanager
def open_channel(url: str, *, confirm_publish: bool = True) -> Iterator[Any]:
    """Connect to a virtual host with py-amqp alone while the block runs."""
    connection = connect(url, confirm_publish=confirm_publish)
    try:
        with connection.channel() as channel:
            yield channel
    finally:
        connection.close()


def connect(url: str, *, confirm_publish: bool = True) -> amqp.Connection:
    """Connect to ``amqp://USER:PASSWORD@HOST:PORT/VHOST``."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        parts.netloc.rpartition("@")[2],
        userid=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        virtual_host=unquote(parts.path[1:]),
        confirm_publish=confirm_publish,
        connect_timeout=5,
        read_timeout=20,
        write_timeout=20,
    )
    connection.connect()
    return connection


def _text(body: str | bytes) -> str:
    """Give a body as text: the library does so only where the sender said how it is encoded."""
    return body if isinstance(body, str) else body.decode()
