"""A deployment's queues on RabbitMQ, read and changed from outside."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any, Self

import amqp

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_inbox import AmqpInbox, AmqpSettings, open_amqp_inbox
from consumers.broker.connect import make_dead_letter_queues, open_sender
from consumers.broker.dead_letters import DeadLetterQueues
from consumers.broker.sender import Sender
from consumers.broker.topology import Topology, declare_topology
from consumers.runtime.retry_policy import possible_delays
from events.routes import (
    dead_letter_queue_name,
    delay_queue_name,
    exchange_name,
    queue_name,
    review_queue_name,
    rule_id,
)
from tests.contracts.loop import ROUTE, Opener, notification
from tests.harness.faults.messages import connect

PREFIX = "dropscribe"

#: The default prefix of bootstrap.
TOPOLOGY = Topology(PREFIX, possible_delays())


class RabbitQueues:
    """The route's queues, with delays that a test can wait for.

    Args:
        url: An empty virtual host.
        delivery_limit: How often a message may be redelivered without a verdict.
        settings: The consumers' own.
    """

    def __init__(
        self, url: str, *, delivery_limit: int = 20, settings: AmqpSettings | None = None
    ) -> None:
        self._url = url
        self.address = BrokerAddress.parse(url, region="", prefix=PREFIX)
        self.topology = Topology(PREFIX, delays=(1.0, 10.0), delivery_limit=delivery_limit)
        self.settings = settings or AmqpSettings(heartbeat=2)
        self.inboxes: list[AmqpInbox] = []
        self.queue = queue_name(PREFIX, ROUTE)
        self._dead = dead_letter_queue_name(PREFIX, ROUTE)
        self._connection: Any = None

    def __enter__(self) -> Self:
        self.make()
        self._connection = connect(self._url)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, amqp.AMQPError):
            self._connection.close()
        self._connection.collect()

    def reconnect(self) -> None:
        """Connect again to a node that was away."""
        self._connection.collect()
        self._connection = connect(self._url)

    def through(self, port: int) -> RabbitQueues:
        """Connect to the same queues through another port."""
        other = RabbitQueues("amqp://h", settings=self.settings)
        other.address = replace(self.address, endpoint=f"amqp://127.0.0.1:{port}")
        other.topology = self.topology
        other.inboxes = self.inboxes
        return other

    def consumer(self, group: int) -> list[str]:
        limit = str(self.topology.delivery_limit)
        return ["-m", "tests.broker.consumer", self._url, limit, str(group)]

    def sender(self) -> AbstractContextManager[Sender]:
        return open_sender(self.address, self.topology)

    @property
    def review_queue(self) -> str:
        return review_queue_name(PREFIX)

    def announced(self) -> list[str]:
        return [str(message.body) for message in self.announcements()]

    def announcements(self) -> list[Any]:
        """Take the messages in the queue that announces review items."""
        found = []
        with self._connection.channel() as channel:
            while (message := channel.basic_get(self.review_queue, no_ack=True)) is not None:
                found.append(message)
        return found

    def away_sender(self) -> AbstractContextManager[Sender]:
        return self.through(9).sender()

    def dead_letters(self) -> DeadLetterQueues:
        return make_dead_letter_queues(self.address)

    def away_dead_letters(self) -> DeadLetterQueues:
        return self.through(9).dead_letters()

    def put_dead(self, body: str | bytes, **properties: Any) -> None:
        with self._connection.channel() as channel:
            channel.basic_publish(amqp.Message(body, **properties), "", self._dead, mandatory=True)

    def away(self) -> Opener:
        return self.through(9)

    def open_inbox(self, *, prefetch: int) -> AmqpInbox:
        inbox = open_amqp_inbox(
            self.address,
            ROUTE,
            prefetch=prefetch,
            topology=self.topology,
            settings=self.settings,
        )
        self.inboxes.append(inbox)
        return inbox

    def make(self) -> None:
        list(declare_topology(self.address, self.topology))

    def remove(self) -> None:
        with self._connection.channel() as channel:
            channel.queue_delete(self.queue)

    def send(self, *keys: str, body: str | bytes | None = None, **properties: Any) -> None:
        """Send as a store does: to the exchange, with the rule's Id."""
        message = amqp.Message(body or notification(keys), **properties)
        with self._connection.channel() as channel:
            key = rule_id(PREFIX, ROUTE)
            channel.basic_publish(message, exchange_name(PREFIX), key, mandatory=True)

    def waiting(self) -> int:
        return self.ready(self.queue)

    def ready(self, queue: str) -> int:
        with self._connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)

    def unsettled(self) -> int:
        """Count twice: a message on its way between two places is in neither."""
        first = self._unsettled()
        time.sleep(0.2)
        return first + self._unsettled()

    def _unsettled(self) -> int:
        delays = [delay_queue_name(PREFIX, ROUTE, each) for each in self.topology.delays]
        in_hand = (len(each.in_hand) for each in self.inboxes if each._connection.connected)
        return sum(in_hand) + sum(self.ready(queue) for queue in (self.queue, *delays))

    def dead_count(self) -> int:
        return self.ready(self._dead)

    def dead(self) -> list[dict[str, Any]]:
        letters = []
        with self._connection.channel() as channel:
            while (message := channel.basic_get(self._dead)) is not None:
                letters.append(json.loads(message.body))
        return letters
