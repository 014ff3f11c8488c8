"""Holds on long work on RabbitMQ.

RabbitMQ closes a channel whose delivery is unsettled for `consumer_timeout` (30 minutes
by default), and redelivers it. Work that takes longer renews its hold in time: it sends
a copy of the message into a queue of this consumer's own, takes it from there at once,
and acks the original. The copy is a new delivery with a new timeout, which no other
consumer ever sees, and stands for the work until its verdict. If this process dies, that
queue expires the copy back into the route's queue.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

from consumers.broker.delivery import ATTEMPT, Delivery
from consumers.broker.topology import QueueSpec

#: The header that counts how often a renewed delivery was lost with its consumer.
LOSSES = "dropscribe-losses"

#: Seconds to wait before a failed renewal is repeated.
_RENEW_AGAIN = 30.0


class Holds:
    """The holds of one consumer.

    Args:
        channel: The consumer's.
        publish: Publishes over it, confirmed: a body to a queue with headers and properties.
        lease_queue: The consumer's own queue, declared when first needed.
        renew_after: Seconds after which a hold is renewed.

    Attributes:
        copies: kombu's messages that stand for deliveries whose hold was renewed.
    """

    def __init__(
        self,
        channel: Any,
        publish: Callable[..., None],
        lease_queue: QueueSpec,
        renew_after: float,
    ) -> None:
        self._channel = channel
        self._publish = publish
        self._lease_queue = lease_queue
        self._renew_after = renew_after
        self._is_declared = False
        self._renew_at: dict[Delivery, float] = {}
        self.copies: dict[Delivery, Any] = {}

    def begin(self, delivery: Delivery) -> None:
        """Begin the hold on a delivery that arrived now."""
        self._renew_at[delivery] = time.monotonic() + self._renew_after

    def message(self, delivery: Delivery) -> Any:
        """Return the message that stands for the delivery now."""
        return self.copies.get(delivery, delivery.message)

    def renew(self, in_hand: AbstractSet[Delivery]) -> None:
        """Renew the holds that are due; forget those of deliveries no longer in hand."""
        now = time.monotonic()
        for delivery in self._renew_at.keys() - in_hand:
            del self._renew_at[delivery]
            self.copies.pop(delivery, None)
        for delivery, due in tuple(self._renew_at.items()):
            if now >= due:
                self._renew_at[delivery] = now + _RENEW_AGAIN
                self._renew_one(delivery)

    def _renew_one(self, delivery: Delivery) -> None:
        """Replace a delivery's message by a copy that is delivered now."""
        name = self._lease_queue.name
        if not self._is_declared:
            self._lease_queue.declare(self._channel)
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
            # It expired into the route's queue already; a duplicate is harmless.
            return
        copy = self._channel.message_to_python(raw)
        if copy.properties.get("message_id") != copy_id:
            copy.requeue()
            return
        self.message(delivery).ack()
        self.copies[delivery] = copy
        self._renew_at[delivery] = time.monotonic() + self._renew_after

    def end(self) -> None:
        """Delete the lease queue, which is empty once all is settled."""
        if self._is_declared:
            self._channel.queue_delete(self._lease_queue.name)
