"""An inbox on RabbitMQ."""

from __future__ import annotations

import math
import uuid
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kombu import Connection

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import AMQP_ERRORS, connected, make_connection
from consumers.broker.amqp_holds import LOSSES, Holds
from consumers.broker.delivery import ATTEMPT, Delivery
from consumers.broker.errors import BrokerLostError
from consumers.broker.inbox import Inbox
from consumers.broker.topology import Topology, check_topology
from consumers.broker.verdict import Retry
from consumers.broker.waker import Waker
from events.routes import Route

#: A delivery with this many losses may be crashing consumers. A lost connection counts
#: too, so one is no sign yet.
_SUSPECT_AFTER = 2


@dataclass(frozen=True, slots=True)
class AmqpSettings:
    """How a consumer keeps its connection, in seconds.

    RabbitMQ does not confirm a message within ``confirm_timeout`` if it is out of memory or
    disk. ``renew_after`` has to be well under its `consumer_timeout`, which it checks once a
    minute.
    """

    heartbeat: int = 30
    connect_timeout: float = 5.0
    confirm_timeout: float = 30.0
    renew_after: float = 25 * 60.0


class AmqpInbox(Inbox):
    """An inbox on RabbitMQ."""

    def __init__(
        self,
        connection: Connection,
        route: Route,
        topology: Topology,
        settings: AmqpSettings,
        prefetch: int,
    ) -> None:
        self._topology = topology
        self._holds = Holds(
            connection.default_channel,
            self._publish,
            topology.lease_queue(route, uuid.uuid4().hex),
            settings.renew_after,
        )
        super().__init__(
            connection,
            route,
            topology.prefix,
            prefetch=prefetch,
            suspect_after=_SUSPECT_AFTER,
            lost_after=topology.delivery_limit,
            # It waits for the confirm; a missing queue is an error.
            publishing={"mandatory": True, "confirm_timeout": settings.confirm_timeout},
        )

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return AMQP_ERRORS

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with super()._translated():
                yield
        except BrokerLostError:
            # A broken connection is dropped rather than closed: the answer may never come.
            self._connection.collect()
            raise

    def _losses(self, message: Any) -> int:
        counts = (message.headers.get(name, 0) for name in (LOSSES, "x-delivery-count"))
        return sum(count for count in counts if isinstance(count, int))

    def _begin(self, delivery: Delivery) -> None:
        self._holds.begin(delivery)

    def _keep(self) -> None:
        self._check_connected()
        with self._translated():
            self._connection.heartbeat_check()
            self._holds.renew(self.in_hand)

    def _wait(self, timeout: float, waker: Waker | None) -> None:
        self._check_connected()
        with self._translated():
            self._connection.connection.handle_arrived(timeout, waker)

    def close(self) -> None:
        """Close the connection, and delete the lease queue if nothing can be in it."""
        with self._translated():
            if not self.in_hand and self._connection.connected:
                self._holds.end()
            self._connection.close()

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Ack deliveries: all those before the first one that stays in hand by a single ack."""
        still_open = self.in_hand.difference(deliveries)
        first_open = min((self._tag(each) for each in still_open), default=math.inf)
        over = sorted(deliveries, key=self._tag)
        at_once = bisect_left(over, first_open, key=self._tag)
        with self._translated():
            if at_once:
                self._message(over[at_once - 1]).ack(multiple=True)
            for delivery in over[at_once:]:
                self._message(delivery).ack()
        self.in_hand.intersection_update(still_open)

    def _check_connected(self) -> None:
        # kombu would reconnect, without a consumer.
        if not self._connection.connected:
            raise BrokerLostError("the broker is unreachable: the connection is closed")

    def _message(self, delivery: Delivery) -> Any:
        return self._holds.message(delivery)

    def _tag(self, delivery: Delivery) -> int:
        """Return its number on the channel: they ascend in order of delivery."""
        tag: int = self._message(delivery).delivery_tag
        return tag

    def _is_paused(self) -> bool:
        # A delivery would only wait behind long work, too.
        return super()._is_paused() or not self.in_hand.isdisjoint(self._holds.copies)

    def _publish_again(self, delivery: Delivery, verdict: Retry) -> None:
        self._publish(
            delivery.body,
            self._topology.delay_queue(self._route, verdict.after),
            headers={ATTEMPT: delivery.attempt + verdict.counts},
        )


def open_amqp_inbox(
    address: BrokerAddress,
    route: Route,
    *,
    prefetch: int,
    topology: Topology,
    settings: AmqpSettings | None = None,
) -> AmqpInbox:
    """Connect, and begin to consume.

    Raises:
        BrokerLostError: RabbitMQ is unreachable or refuses.
        MissingQueueError: One of the route's queues does not exist.
    """
    settings = settings or AmqpSettings()
    with connected(
        make_connection(
            address, heartbeat=settings.heartbeat, connect_timeout=settings.connect_timeout
        )
    ) as connection:
        check_topology(connection.default_channel, topology, route)
        return AmqpInbox(connection, route, topology, settings, prefetch)
