"""Holding on to long work on RabbitMQ.

RabbitMQ closes a channel that has a delivery unsettled for `consumer_timeout`
(30 minutes, if it is not told otherwise), and gives the delivery to another
consumer. Work that takes longer renews its hold in time: it sends a copy of
the message into a queue of this consumer's own, takes it from there at once,
and settles the first. The copy is a new delivery with a new timeout, nobody
else ever sees it, and it stands for the work until its verdict. When this
process dies, it returns to the route's queue, as that queue expires into it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from consumers.broker.delivery import ATTEMPT, Delivery
from consumers.broker.topology import QueueSpec, declare_queue

#: The header that counts how often a renewed delivery was lost with its consumer.
LOSSES = "dropscribe-losses"

#: Seconds to wait where a hold could not be renewed.
_RENEW_AGAIN = 30.0


class Publish(Protocol):
    """Publishes to a queue, confirmed."""

    def __call__(
        self, body: bytes | str, queue: str, headers: dict[str, object], **properties: object
    ) -> None:
        """Publish."""


class Leases:
    """The holds of one consumer.

    Args:
        channel: Its channel.
        publish: Publishes over it.
        lease_queue: The consumer's own queue, made when it is first needed.
        renew_after: Seconds after which a hold is renewed.
    """

    def __init__(
        self, channel: Any, publish: Publish, lease_queue: QueueSpec, renew_after: float
    ) -> None:
        self._channel = channel
        self._publish = publish
        self._lease_queue = lease_queue
        self._renew_after = renew_after
        self._is_declared = False
        self._renew_at: dict[Delivery, float] = {}
        self.copies: dict[Delivery, Any] = {}

    def begin(self, delivery: Delivery) -> None:
        """Hold a delivery that arrived now."""
        self._renew_at[delivery] = time.monotonic() + self._renew_after

    def message(self, delivery: Delivery) -> Any:
        """Give the broker's message that stands for the delivery now."""
        return self.copies.get(delivery, delivery.message)

    def renew(self, in_hand: AbstractSet[Delivery]) -> None:
        """Renew the holds whose time has come; forget what is not in hand any more."""
        now = time.monotonic()
        for delivery in self._renew_at.keys() - in_hand:
            del self._renew_at[delivery]
            self.copies.pop(delivery, None)
        for delivery, due in tuple(self._renew_at.items()):
            if now >= due:
                self._renew_at[delivery] = now + _RENEW_AGAIN
                self._renew_one(delivery)

    def _renew_one(self, delivery: Delivery) -> None:
        """Replace a delivery's message by a copy that is delivered to us now."""
        name = self._lease_queue.name
        if not self._is_declared:
            declare_queue(self._channel, self._lease_queue)
            self._is_declared = True
        copy_id = uuid.uuid4().hex
        self._publish(
            delivery.body,
            name,
            {ATTEMPT: delivery.attempt, LOSSES: delivery.losses + 1},
            message_id=copy_id,
        )
        raw = self._channel.basic_get(name)
        if raw is None:
            # It came back to the route's queue before we had it. A double costs nothing.
            return
        copy = self._channel.message_to_python(raw)
        if copy.properties.get("message_id") != copy_id:
            copy.requeue()
            return
        self.message(delivery).ack()
        self.copies[delivery] = copy
        self._renew_at[delivery] = time.monotonic() + self._renew_after

    def end(self) -> None:
        """Delete the queue, in which nothing lies once all is settled."""
        if self._is_declared:
            self._channel.queue_delete(self._lease_queue.name)
