"""RabbitMQ.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kombu import Connection

from consumers.broker.address import BrokerAddress
from consumers.broker.connection import AMQP_ERRORS, connected, make_connection
from consumers.broker.inbox import ATTEMPT, BrokerLostError, Delivery, Inbox
from consumers.broker.topology import Topology, check_topology, declare_queue
from consumers.verdict import DeadLetter, Retry
from events.routes import Route, queue_name

#: The header that counts how often a renewed delivery was lost with its consumer.
_LOSSES = "dropscribe-losses"

#: A delivery that was lost so often may be what its consumers die of: it is worked on alone.
_SUSPECT = 2

#: Seconds to wait where a hold could not be renewed.
_RENEW_AGAIN = 30.0


@dataclass(frozen=True, slots=True)
class AmqpSettings:
    """How a consumer keeps its connection.

    Attributes:
        heartbeat: Seconds between heartbeats.
        connect_timeout: Seconds that connecting may take.
        confirm_timeout: Seconds within which RabbitMQ has to confirm what is
            published; it does not while it is out of memory or of disk.
        renew_after: Seconds after which long work renews its hold: well under
            RabbitMQ's `consumer_timeout`, which it looks at once a minute.
    """

    heartbeat: int = 30
    connect_timeout: float = 5.0
    confirm_timeout: float = 30.0
    renew_after: float = 25 * 60.0


class AmqpInbox(Inbox):
    """An inbox on RabbitMQ.

    A delivery that came back again and again without a verdict is a suspect.
    It is worked on alone: RabbitMQ counts a death of this process against
    everything that it had in hand, and neighbours must not be counted out.
    """

    def __init__(
        self,
        connection: Connection,
        route: Route,
        topology: Topology,
        settings: AmqpSettings,
        *,
        prefetch: int,
        receive: Callable[[Delivery], None],
    ) -> None:
        self._topology = topology
        self._settings = settings
        self._holder = uuid.uuid4().hex
        self._has_lease_queue = False
        self._copies: dict[Delivery, Any] = {}
        self._renew_at: dict[Delivery, float] = {}
        self._suspects: list[Delivery] = []
        self._alone: Delivery | None = None
        self._is_consuming = True
        self._is_cancelled = False
        super().__init__(connection, route, topology.prefix, prefetch=prefetch, receive=receive)

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return AMQP_ERRORS

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with super()._translated():
                yield
        except BrokerLostError:
            # What is broken is not asked to say goodbye: the answer may never come.
            self._connection.collect()
            raise

    def _on_message(self, message: Any) -> None:
        delivery = Delivery.of(message)
        self.in_hand.add(delivery)
        self._renew_at[delivery] = time.monotonic() + self._settings.renew_after
        if _losses(message) < _SUSPECT:
            self._receive(delivery)
        else:
            self._suspects.append(delivery)

    def drain(self, timeout: float) -> None:
        """Take what arrives within ``timeout`` seconds.

        Raises:
            BrokerLostError: The connection broke.
        """
        self._check_connected()
        super().drain(timeout)

    def keep(self) -> None:
        """Send heartbeats, and renew the hold on long work."""
        self._check_connected()
        with self._translated():
            self._connection.heartbeat_check()
        if self._is_cancelled:
            # Nobody drains any more, and the broker's heartbeats are to be seen.
            self.drain(0.001)
        self._try_suspect()
        self._renew()
        self._take_or_rest()

    def cancel(self) -> None:
        """Take no more deliveries; suspects that are not begun go back."""
        self._is_cancelled = True
        super().cancel()
        for delivery in self._suspects:
            self.give_back(delivery)
        self._suspects.clear()

    def give_back(self, delivery: Delivery) -> None:
        """Hand a delivery back, for another consumer."""
        if delivery in self._copies:
            # Requeued, it would rest until it expires.
            self._send_again(delivery)
        else:
            super().give_back(delivery)

    def close(self) -> None:
        """Close the connection; a lease queue goes if nothing lies in it."""
        with self._translated():
            if self._has_lease_queue and not self.in_hand and self._connection.connected:
                self._channel.queue_delete(
                    self._topology.lease_queue(self._route, self._holder).name
                )
            self._connection.close()

    def _check_connected(self) -> None:
        # kombu would connect anew, without a consumer.
        if not self._connection.connected:
            raise BrokerLostError("the broker can't be reached: the connection is closed")

    def _message(self, delivery: Delivery) -> Any:
        return self._copies.get(delivery, delivery.message)

    def _take_or_rest(self) -> None:
        """Take nothing new while work is long or suspect: it would wait here for nothing."""
        if self._is_cancelled:
            return
        rests = bool(self._suspects) or not self.in_hand.isdisjoint({self._alone, *self._copies})
        with self._translated():
            if rests and self._is_consuming:
                self._consumer.cancel()
            elif not rests and not self._is_consuming:
                self._consumer.consume()
        self._is_consuming = not rests

    def _try_suspect(self) -> None:
        """Once all else is settled, begin the most suspect; the rest goes to the queue's end."""
        if not self._suspects or len(self.in_hand) > len(self._suspects):
            return
        suspects = sorted(self._suspects, key=lambda each: _losses(each.message))
        self._suspects = []
        self._alone = suspects.pop()
        for delivery in suspects:
            self._send_again(delivery)
        if _losses(self._alone.message) < self._topology.delivery_limit:
            self._receive(self._alone)
            return
        error = "it came back too often without a verdict: it may be what its consumers die of"
        self.settle(self._alone, DeadLetter("lost", error), datetime.now(UTC))

    def _send_again(self, delivery: Delivery) -> None:
        """Let a neighbour start anew, so that no death but its own counts against it."""
        with self._translated():
            self._publish(
                delivery.body,
                queue_name(self._prefix, self._route),
                headers={ATTEMPT: delivery.attempt},
            )
            self._message(delivery).ack()
        self.in_hand.discard(delivery)

    def _renew(self) -> None:
        now = time.monotonic()
        for delivery in self._renew_at.keys() - self.in_hand:
            del self._renew_at[delivery]
            self._copies.pop(delivery, None)
        for delivery, due in tuple(self._renew_at.items()):
            if now >= due:
                self._renew_at[delivery] = now + _RENEW_AGAIN
                with self._translated():
                    self._renew_one(delivery)

    def _renew_one(self, delivery: Delivery) -> None:
        """Replace a delivery's message by a copy that is delivered to us now."""
        spec = self._topology.lease_queue(self._route, self._holder)
        if not self._has_lease_queue:
            declare_queue(self._channel, spec)
            self._has_lease_queue = True
        copy_id = uuid.uuid4().hex
        self._publish(
            delivery.body,
            spec.name,
            headers={ATTEMPT: delivery.attempt, _LOSSES: _losses(delivery.message) + 1},
            message_id=copy_id,
        )
        raw = self._channel.basic_get(spec.name)
        if raw is None:
            # It came back to the route's queue before we had it. A double costs nothing.
            return
        copy = self._channel.message_to_python(raw)
        if copy.properties.get("message_id") != copy_id:
            copy.requeue()
            return
        self._message(delivery).ack()
        self._copies[delivery] = copy
        self._renew_at[delivery] = time.monotonic() + self._settings.renew_after

    def _publish_again(self, delivery: Delivery, verdict: Retry) -> None:
        self._publish(
            delivery.body,
            self._topology.delay_queue(self._route, verdict.after),
            headers={ATTEMPT: delivery.attempt + verdict.counts},
        )

    def _publish(
        self,
        body: bytes | str,
        queue: str,
        headers: dict[str, object] | None = None,
        **properties: object,
    ) -> None:
        """Publish, and wait until RabbitMQ has it; a queue that is missing is an error."""
        super()._publish(
            body,
            queue,
            headers,
            mandatory=True,
            confirm_timeout=self._settings.confirm_timeout,
            **properties,
        )


def _losses(message: Any) -> int:
    """Count how often a message came back without a verdict."""
    counts = (message.headers.get(name, 0) for name in (_LOSSES, "x-delivery-count"))
    return sum(count for count in counts if isinstance(count, int))


def open_amqp_inbox(
    address: BrokerAddress,
    route: Route,
    *,
    prefetch: int,
    receive: Callable[[Delivery], None],
    topology: Topology | None = None,
    settings: AmqpSettings | None = None,
) -> AmqpInbox:
    """Connect, and begin to consume.

    Raises:
        BrokerLostError: RabbitMQ can't be reached, or refuses.
        MissingQueueError: One of the route's queues is not there.
    """
    topology = topology or Topology(address.prefix)
    settings = settings or AmqpSettings()
    with connected(
        make_connection(
            address, heartbeat=settings.heartbeat, connect_timeout=settings.connect_timeout
        )
    ) as connection:
        check_topology(connection.default_channel, topology, route)
        return AmqpInbox(connection, route, topology, settings, prefetch=prefetch, receive=receive)
