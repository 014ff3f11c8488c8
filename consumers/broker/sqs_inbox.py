"""An inbox on SQS: Amazon's, or the embedded stack's."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from kombu import Connection
from kombu.transport.SQS.exceptions import AccessDeniedQueueException

from consumers.broker.address import BrokerAddress
from consumers.broker.delivery import ATTEMPT, Delivery
from consumers.broker.inbox import Inbox
from consumers.broker.sqs_transport import SqsTransport
from consumers.broker.verdict import Retry
from consumers.broker.waker import Waker
from events.routes import Route, queue_name

#: Seconds until SQS redelivers a message that a consumer took and did not settle. A
#: living consumer extends them in time, so this only bounds how long the work of a dead
#: one rests.
VISIBILITY = 60

#: Seconds that one request waits for messages on the server.
_LONG_POLL = 1

#: A delivery with this many losses may be crashing consumers. Each crash costs a
#: visibility timeout, so it is worked on alone from the first.
_SUSPECT_AFTER = 1

#: One with this many losses is a dead letter, before the queue's redrive policy makes it
#: one without a log line and a row.
LOST_AFTER = 8

#: The longest delay of a message that SQS allows, in seconds.
_MAX_DELAY = 900


class SqsInbox(Inbox):
    """An inbox on SQS, which extends visibility timeouts while work goes on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held_until: dict[Delivery, float] = {}
        super().__init__(*args, suspect_after=_SUSPECT_AFTER, **kwargs)

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return (*super()._errors, BotoCoreError, ClientError, AccessDeniedQueueException)

    def _losses(self, message: Any) -> int:
        attributes = message.delivery_info["sqs_message"].get("Attributes", {})
        # The attribute counts this delivery, too.
        return int(attributes.get("ApproximateReceiveCount", 1)) - 1

    def _begin(self, delivery: Delivery) -> None:
        self._held_until[delivery] = time.monotonic() + VISIBILITY

    def _wait(self, timeout: float, waker: Waker | None) -> None:
        del waker
        with self._translated(), suppress(TimeoutError):
            self._connection.drain_events(timeout=timeout)

    def _keep(self) -> None:
        """Extend the visibility timeouts of all deliveries in hand, well before they end."""
        now = time.monotonic()
        for delivery in self._held_until.keys() - self.in_hand:
            del self._held_until[delivery]
        for delivery, until in tuple(self._held_until.items()):
            if until - now < VISIBILITY * 2 / 3:
                self._extend(delivery)
                self._held_until[delivery] = now + VISIBILITY

    def _extend(self, delivery: Delivery) -> None:
        info = delivery.message.delivery_info
        with self._translated():
            self._channel.sqs().change_message_visibility(
                QueueUrl=info["sqs_queue"],
                ReceiptHandle=info["sqs_message"]["ReceiptHandle"],
                VisibilityTimeout=VISIBILITY,
            )

    def _publish_again(self, delivery: Delivery, verdict: Retry) -> None:
        self._publish(
            delivery.body,
            queue_name(self._prefix, self._route),
            headers={ATTEMPT: delivery.attempt + verdict.counts},
            delay_seconds=min(int(verdict.after), _MAX_DELAY),
        )


def open_sqs_inbox(
    address: BrokerAddress,
    route: Route,
    *,
    prefetch: int,
    lost_after: int = LOST_AFTER,
) -> SqsInbox:
    """Connect, and begin to consume.

    Raises:
        BrokerLostError: SQS is unreachable or refuses.
    """
    parts = urlsplit(address.endpoint or "")
    connection = Connection(
        hostname=parts.hostname,
        port=parts.port,
        userid=address.access_key,
        password=address.secret_key,
        transport=SqsTransport,
        transport_options={
            "region": address.region,
            "is_secure": parts.scheme != "http",
            "visibility_timeout": VISIBILITY,
            "wait_time_seconds": _LONG_POLL,
            "polling_interval": 0.1,
            "ca_file": address.ca_file,
        },
    )
    return SqsInbox(
        connection,
        route,
        address.prefix,
        prefetch=prefetch,
        lost_after=lost_after,
    )
