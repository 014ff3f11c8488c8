"""One route's deliveries, and the one broker action that ends each.

An inbox belongs to the thread that opened it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from kombu import Connection, Consumer, Producer, Queue
from kombu.exceptions import KombuError

from consumers.errors import TransientError
from consumers.verdict import Ack, DeadLetter, Retry, Verdict
from events.routes import Route, dead_letter_queue_name, queue_name

#: The header that counts a message's attempts. What a store sends has none.
ATTEMPT = "dropscribe-attempt"


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One message in hand.

    Attributes:
        body: What the store, or a retry, sent.
        attempt: Which attempt at it this is, from 1.
        message: kombu's message; for the inbox that it came from.
    """

    body: bytes | str
    attempt: int
    message: Any

    @classmethod
    def of(cls, message: Any) -> Self:
        """Read kombu's message."""
        attempt = message.headers.get(ATTEMPT, 1)
        return cls(
            body=message.body if message.body is not None else b"",
            attempt=attempt if isinstance(attempt, int) and attempt > 0 else 1,
            message=message,
        )


class BrokerLostError(TransientError):
    """The connection to the broker broke; what was in hand will be delivered again."""


class Inbox(ABC):
    """The deliveries of one route, over one connection.

    Args:
        connection: An established kombu connection; the inbox closes it.
        route: Whose deliveries.
        prefix: What the queues' names begin with.
        prefetch: The most deliveries in hand at a time.
        receive: Called with each delivery. It must not raise.
    """

    def __init__(
        self,
        connection: Connection,
        route: Route,
        prefix: str,
        *,
        prefetch: int,
        receive: Callable[[Delivery], None],
    ) -> None:
        self._connection = connection
        self._route = route
        self._prefix = prefix
        self._receive = receive
        self.in_hand: set[Delivery] = set()
        with self._translated():
            self._channel = connection.default_channel
            # A consumer with `on_message` never decodes a body by itself: what
            # it can't decode, kombu would ack.
            self._consumer = Consumer(
                self._channel,
                queues=[Queue(queue_name(prefix, route), no_declare=True)],
                on_message=self._on_message,
                prefetch_count=prefetch,
            )
            self._consumer.consume()

    def _on_message(self, message: Any) -> None:
        delivery = Delivery.of(message)
        self.in_hand.add(delivery)
        self._receive(delivery)

    def drain(self, timeout: float) -> None:
        """Take what arrives within ``timeout`` seconds.

        Raises:
            BrokerLostError: The connection broke.
        """
        with self._translated():
            try:
                self._connection.drain_events(timeout=timeout)
            except TimeoutError:
                return

    @abstractmethod
    def keep(self) -> None:
        """Show the broker that this consumer lives. To be called often."""

    def settle(self, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
        """End a delivery by the one action that its verdict means.

        What has to stay is published first and acked after: a crash between
        the two doubles it, and a double costs nothing.

        Raises:
            BrokerLostError: The connection broke; the delivery comes again.
        """
        with self._translated():
            match verdict:
                case Ack():
                    pass
                case Retry():
                    self._publish_again(delivery, verdict)
                case DeadLetter():
                    self._publish_dead_letter(delivery, verdict, now)
            self._message(delivery).ack()
        self.in_hand.discard(delivery)

    def give_back(self, delivery: Delivery) -> None:
        """Hand a delivery back as it came, for another consumer."""
        with self._translated():
            self._message(delivery).requeue()
        self.in_hand.discard(delivery)

    def cancel(self) -> None:
        """Take no more deliveries."""
        with self._translated():
            self._consumer.cancel()

    def close(self) -> None:
        """Close the connection."""
        with self._translated():
            self._connection.close()

    def _message(self, delivery: Delivery) -> Any:
        """Give the broker's message that stands for the delivery now."""
        return delivery.message

    @abstractmethod
    def _publish_again(self, delivery: Delivery, verdict: Retry) -> None:
        """Send the delivery's message anew, to arrive after the verdict's delay."""

    def _publish_dead_letter(self, delivery: Delivery, verdict: DeadLetter, now: datetime) -> None:
        letter = {
            "route": self._route.name,
            "reason": verdict.reason,
            "error": verdict.error,
            "attempts": delivery.attempt,
            "dead_at": now.isoformat(),
            "body": _text(delivery.body),
        }
        self._publish(
            json.dumps(letter, ensure_ascii=False),
            dead_letter_queue_name(self._prefix, self._route),
        )

    def _publish(
        self,
        body: bytes | str,
        queue: str,
        headers: dict[str, object] | None = None,
        **properties: object,
    ) -> None:
        Producer(self._channel).publish(
            body if isinstance(body, bytes) else body.encode(),
            routing_key=queue,
            content_type="application/json",
            content_encoding="utf-8",
            headers=headers or {},
            **properties,
        )

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        """Whatever the broker's library raises where it does not answer as it should."""
        errors: tuple[type[Exception], ...] = (
            *self._connection.connection_errors,
            *self._connection.channel_errors,
            KombuError,
        )
        return errors

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as exc:
            raise BrokerLostError(f"the broker can't be reached: {exc}") from exc


def _text(body: bytes | str) -> str:
    return body if isinstance(body, str) else body.decode(errors="backslashreplace")
