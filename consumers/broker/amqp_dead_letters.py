"""Dead letters on RabbitMQ."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import AmqpSession
from consumers.broker.dead_letters import (
    BrokerDeath,
    DeadLetterIds,
    HeldDeadLetter,
    StoredDeadLetter,
    as_text,
)
from consumers.broker.delivery import attempt_in
from consumers.broker.errors import BrokerLostError
from consumers.errors import TransientError
from events.routes import Route, dead_letter_queue_name

#: Seconds to wait, at most, until requeued messages are visible again.
_RETURN = 2.0


class AmqpDeadLetterWalk:
    """A `DeadLetterWalk` on RabbitMQ, which fetches one message at a time.

    RabbitMQ holds fetched messages back until the connection ends, and then requeues those
    that were not acked.
    """

    def __init__(self, address: BrokerAddress, route: Route) -> None:
        self._session = AmqpSession(address)
        self._route = route
        self._queue = dead_letter_queue_name(address.prefix, route)
        self._fetched_over: Any = None
        self._held = 0
        self._present = 0

    def count(self) -> int:
        """See `DeadLetterWalk`."""
        with self._session.request() as channel:
            number: int = channel.queue_declare(self._queue, passive=True).message_count
            return number

    def held(self) -> Iterator[HeldDeadLetter]:
        """See `DeadLetterWalk`: fetch as many as are there now; later ones queue behind them."""
        ids = DeadLetterIds(self._route)
        self._present = self.count()
        for _ in range(self._present):
            with self._request() as channel:
                # The body's bytes, whatever encoding the headers name.
                channel.auto_decode = False
                message = channel.basic_get(self._queue)
            if message is None:
                return
            self._held += 1
            stored = as_text(message.body)
            letter = StoredDeadLetter.read(ids.of(stored), self._route, stored, _death(message))
            yield HeldDeadLetter(letter, partial(self._discard, message.delivery_tag))

    def _discard(self, tag: int) -> None:
        with self._request() as channel:
            channel.basic_ack(tag)
            # An ack has no answer; this has, and RabbitMQ handles them in order.
            channel.queue_declare(self._queue, passive=True)
        self._held -= 1
        self._present -= 1

    @contextmanager
    def _request(self) -> Iterator[Any]:
        with self._session.request() as channel:
            if self._fetched_over not in {None, channel}:
                raise BrokerLostError("the broker is unreachable: the connection was lost")
            self._fetched_over = channel
            yield channel

    def close(self) -> None:
        """Requeue what is held; a broker that is away does so by itself."""
        with suppress(TransientError):
            if self._held:
                self._give_back()
        self._session.close()

    def _give_back(self) -> None:
        with self._request() as channel:
            channel.basic_recover(requeue=True)
        # RabbitMQ takes a moment, and the next reader should see them.
        end = time.monotonic() + _RETURN
        while self.count() < self._present and time.monotonic() < end:
            time.sleep(0.01)


def _death(message: Any) -> BrokerDeath:
    """Read the header that RabbitMQ adds when it dead-letters ("x-death" in its documentation)."""
    headers = message.properties.get("application_headers") or {}
    deaths = headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    if not isinstance(last, dict):
        return BrokerDeath("put here without a reason from dropscribe", attempt_in(headers), None)
    reason = last.get("reason")
    if reason == "delivery_limit":
        error = (
            "RabbitMQ dead-lettered it, as it was redelivered too often without a verdict: "
            "it may be crashing consumers"
        )
    else:
        error = f"RabbitMQ dead-lettered it: {reason}"
    time = last.get("time")
    # py-amqp gives UTC without saying so.
    dead_at = time.replace(tzinfo=UTC) if isinstance(time, datetime) else None
    return BrokerDeath(error, attempt_in(headers), dead_at)
