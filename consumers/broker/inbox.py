"""One route's deliveries, and the one broker action that ends each.

An inbox belongs to the thread that opened it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any

from kombu import Connection, Consumer, Queue
from kombu.exceptions import KombuError

from consumers.broker.delivery import ATTEMPT, Delivery, attempt_in, publish
from consumers.broker.errors import BrokerLostError
from consumers.broker.verdict import DeadLetter, Retry, Verdict
from consumers.broker.waker import Waker
from events.routes import Route, dead_letter_queue_name, queue_name


class Quarantine:
    """The suspects among the deliveries in hand: those with ``threshold`` losses or more.

    A broker counts the death of a process against everything that it had in hand. So that
    no neighbour is counted out, a delivery that was redelivered without a verdict is a
    suspect: once all else is settled, the worst suspect is worked on alone, and the others
    are sent anew, with their counts reset.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._suspects: list[Delivery] = []
        self._alone: Delivery | None = None

    def holds_back(self, delivery: Delivery) -> bool:
        """Keep an arriving delivery here if it is a suspect."""
        if delivery.losses < self._threshold:
            return False
        self._suspects.append(delivery)
        return True

    def choose(self, in_hand: AbstractSet[Delivery]) -> tuple[Delivery, list[Delivery]] | None:
        """Choose the worst suspect, to be worked on now, and the others, to be sent anew.

        None while anything else is in hand.
        """
        if not self._suspects or len(in_hand) > len(self._suspects):
            return None
        others = sorted(self._suspects, key=lambda delivery: delivery.losses)
        self._suspects = []
        self._alone = others.pop()
        return self._alone, others

    def is_exclusive(self, in_hand: AbstractSet[Delivery]) -> bool:
        """Whether nothing may be taken beside the deliveries in hand."""
        return bool(self._suspects) or self._alone in in_hand

    def release(self) -> list[Delivery]:
        """Give up the suspects that are not begun."""
        suspects, self._suspects = self._suspects, []
        return suspects


class Inbox(ABC):
    """The deliveries of one route, over one connection.

    A method raises `BrokerLostError` if the connection breaks: deliveries in hand come again.

    Args:
        connection: An established kombu connection; the inbox closes it.
        route: Whose deliveries.
        prefix: The first part of the queues' names.
        prefetch: The most deliveries in hand at a time.
        suspect_after: A delivery that was redelivered this often without a verdict is
            worked on alone (see `Quarantine`).
        lost_after: One that was redelivered this often is not worked on any more.
        publishing: What kombu needs to publish reliably on this broker.
    """

    def __init__(
        self,
        connection: Connection,
        route: Route,
        prefix: str,
        *,
        prefetch: int,
        suspect_after: int,
        lost_after: int,
        publishing: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self._connection = connection
        self._route = route
        self._prefix = prefix
        self._lost_after = lost_after
        self._publishing = publishing
        self._quarantine = Quarantine(suspect_after)
        self._arrived: list[Delivery] = []
        self._is_consuming = True
        self._is_cancelled = False
        self.in_hand: set[Delivery] = set()
        with self._translated():
            self._channel = connection.default_channel
            # A consumer with `on_message` does not decode bodies: kombu acks those that
            # it fails to decode.
            self._consumer = Consumer(
                self._channel,
                queues=[Queue(queue_name(prefix, route), no_declare=True)],
                on_message=self._on_message,
                prefetch_count=prefetch,
            )
            self._consumer.consume()

    def _on_message(self, message: Any) -> None:
        losses = self._losses(message)
        delivery = Delivery(
            body=message.body if message.body is not None else b"",
            attempt=attempt_in(message.headers),
            losses=losses,
            is_lost=losses >= self._lost_after,
            message=message,
        )
        self.in_hand.add(delivery)
        self._begin(delivery)
        self._arrived.append(delivery)

    @abstractmethod
    def _losses(self, message: Any) -> int:
        """Count how often a message was redelivered without a verdict."""

    @abstractmethod
    def _begin(self, delivery: Delivery) -> None:
        """Start the clock by which the broker would take the delivery back."""

    def drain(self, timeout: float, waker: Waker | None = None) -> list[Delivery]:
        """Wait for deliveries, and keep those in hand from expiring.

        To be called often: a broker takes a consumer that does not for dead.

        Args:
            timeout: Seconds to wait at most.
            waker: Ends the wait early; SQS' library cannot wait for it.

        Returns:
            The deliveries to be worked on now. Suspects wait for their turn, except
            once the inbox is cancelled: what arrives then is to be given back.
        """
        self._keep()
        ready = self._release_suspects()
        self._pause_or_resume()
        if not ready and not self._arrived:
            self._wait(timeout, waker)
        arrived, self._arrived = self._arrived, []
        return ready + [each for each in arrived if not self._quarantine.holds_back(each)]

    @abstractmethod
    def _keep(self) -> None:
        """Show the broker that this consumer lives, and still works on what it has in hand."""

    @abstractmethod
    def _wait(self, timeout: float, waker: Waker | None) -> None:
        """Have `_on_message` called with the messages that arrive within ``timeout`` seconds."""

    def settle(self, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
        """End a delivery by the one broker action that its verdict means.

        A message that has to stay is published first and acked after: a crash between
        the two duplicates it, and duplicates are harmless.
        """
        with self._translated():
            if isinstance(verdict, Retry):
                self._publish_again(delivery, verdict)
            elif isinstance(verdict, DeadLetter):
                self._publish_dead_letter(delivery, verdict, now)
        self.acknowledge([delivery])

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Ack deliveries, which are in hand until then."""
        for delivery in deliveries:
            with self._translated():
                self._message(delivery).ack()
            self.in_hand.discard(delivery)

    def give_back(self, delivery: Delivery) -> None:
        """Hand a delivery back, for another consumer: an equal message without losses is sent.

        Brokers count a message that is only returned as lost, so that consumers that are
        restarted again and again would make a dead letter of it.
        """
        with self._translated():
            self._publish(
                delivery.body,
                queue_name(self._prefix, self._route),
                headers={ATTEMPT: delivery.attempt},
            )
        self.acknowledge([delivery])

    def cancel(self) -> None:
        """Take no more deliveries; `drain` returns those that were on their way."""
        self._is_cancelled = True
        with self._translated():
            self._consumer.cancel()

    def close(self) -> None:
        """Close the connection: the broker delivers the unsettled deliveries again."""
        with self._translated():
            self._connection.close()

    def _release_suspects(self) -> list[Delivery]:
        """Once all else is settled, take the worst suspect; the rest goes to the queue's end."""
        if self._is_cancelled:
            return self._quarantine.release()
        chosen = self._quarantine.choose(self.in_hand)
        if chosen is None:
            return []
        alone, others = chosen
        for delivery in others:
            self.give_back(delivery)
        return [alone]

    def _pause_or_resume(self) -> None:
        """Take nothing new while it would only wait here behind other work."""
        if self._is_cancelled:
            return
        is_paused = self._is_paused()
        with self._translated():
            if is_paused and self._is_consuming:
                self._consumer.cancel()
            elif not is_paused and not self._is_consuming:
                self._consumer.consume()
        self._is_consuming = not is_paused

    def _is_paused(self) -> bool:
        return self._quarantine.is_exclusive(self.in_hand)

    def _message(self, delivery: Delivery) -> Any:
        """Return the broker's message that stands for the delivery now."""
        return delivery.message

    @abstractmethod
    def _publish_again(self, delivery: Delivery, verdict: Retry) -> None:
        """Publish the delivery's message anew, to arrive after the verdict's delay."""

    def _publish_dead_letter(self, delivery: Delivery, verdict: DeadLetter, now: datetime) -> None:
        body = delivery.body
        letter = {
            "route": self._route.name,
            "reason": verdict.reason,
            "error": verdict.error,
            "attempts": delivery.attempt,
            "dead_at": now.isoformat(),
            "body": body if isinstance(body, str) else body.decode(errors="backslashreplace"),
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
        """Publish with the broker's own options."""
        publish(self._channel, body, queue, headers, **self._publishing, **properties)

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        """All that the library raises when the broker does not answer as it should."""
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
            raise BrokerLostError(f"the broker is unreachable: {exc}") from exc
