"""Dead letters on RabbitMQ."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_session import AmqpSession
from consumers.broker.dead_letters import (
    BrokerDeath,
    DeadLetterIds,
    HeldDeadLetter,
    StoredDeadLetter,
)
from consumers.broker.delivery import attempt_in
from consumers.broker.errors import BrokerLostError
from consumers.errors import TransientError
from events.routes import Route, dead_letter_queue_name

#: Seconds to wait, at most, until what was held can be seen again.
_RETURN = 2.0


class AmqpDeadLetterQueues:
    """The dead-letter queues of a RabbitMQ.

    A walk fetches the letters one by one and keeps none of them here: RabbitMQ
    has them down as fetched until the connection ends, and then gives back
    what was not acked.
    """

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address

    def count(self, route: Route) -> int:
        """Count the route's letters that nobody holds."""
        walk = _Walk(AmqpSession(self._address), route, self._queue(route))
        try:
            return walk.count()
        finally:
            walk.end()

    @contextmanager
    def walk(self, route: Route) -> Iterator[Iterator[HeldDeadLetter]]:
        """Go through the route's letters, each once."""
        walk = _Walk(AmqpSession(self._address), route, self._queue(route))
        try:
            yield walk.held(walk.count())
        finally:
            walk.end()

    def _queue(self, route: Route) -> str:
        return dead_letter_queue_name(self._address.prefix, route)


class _Walk:
    def __init__(self, session: AmqpSession, route: Route, queue: str) -> None:
        self._session = session
        self._route = route
        self._queue = queue
        self._fetched_over: Any = None
        self._held = 0
        self._present = 0

    def count(self) -> int:
        with self._session.request() as channel:
            number: int = channel.queue_declare(self._queue, passive=True).message_count
            return number

    def held(self, number: int) -> Iterator[HeldDeadLetter]:
        """Fetch so many letters: as many as there are now, as others come behind them."""
        ids = DeadLetterIds(self._route)
        self._present = number
        for _ in range(number):
            with self._request() as channel:
                # The body as it is, rather than decoded as its sender says.
                channel.auto_decode = False
                message = channel.basic_get(self._queue)
            if message is None:
                return
            self._held += 1
            stored = _as_text(message.body)
            letter = StoredDeadLetter.read(ids.of(stored), self._route, stored, _mark(message))
            yield HeldDeadLetter(letter, partial(self._discard, message.delivery_tag))

    def _discard(self, tag: int) -> None:
        with self._request() as channel:
            channel.basic_ack(tag)
            # An ack has no answer; this has, and RabbitMQ takes one after the other.
            channel.queue_declare(self._queue, passive=True)
        self._held -= 1
        self._present -= 1

    @contextmanager
    def _request(self) -> Iterator[Any]:
        with self._session.request() as channel:
            if self._fetched_over not in {None, channel}:
                raise BrokerLostError("the broker can't be reached: the connection was lost")
            self._fetched_over = channel
            yield channel

    def end(self) -> None:
        """Give back what is held; where the broker is away, it does so by itself."""
        with suppress(TransientError):
            if self._held:
                self._give_back()
        self._session.close()

    def _give_back(self) -> None:
        with self._request() as channel:
            channel.basic_recover(requeue=True)
        # It takes RabbitMQ a moment, and whoever looks next should see them.
        end = time.monotonic() + _RETURN
        while self.count() < self._present and time.monotonic() < end:
            time.sleep(0.01)


def _as_text(body: bytes | str) -> bytes | str:
    """Decode what is UTF-8; all that dropscribe writes is."""
    if isinstance(body, str):
        return body
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body


def _mark(message: Any) -> BrokerDeath:
    """Read what RabbitMQ puts on what it dead-letters itself (its documentation: "x-death")."""
    headers = message.properties.get("application_headers") or {}
    deaths = headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    if not isinstance(last, dict):
        return BrokerDeath(
            "it lies here without a reason of dropscribe's", attempt_in(headers), None
        )
    reason = last.get("reason")
    if reason == "delivery_limit":
        error = (
            "RabbitMQ put it away, as it came back too often without a verdict: "
            "it may be what its consumers die of"
        )
    else:
        error = f"RabbitMQ put it away: {reason}"
    time = last.get("time")
    # py-amqp gives UTC without saying so.
    dead_at = time.replace(tzinfo=UTC) if isinstance(time, datetime) else None
    return BrokerDeath(error, attempt_in(headers), dead_at)
