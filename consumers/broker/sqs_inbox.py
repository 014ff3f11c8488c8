"""An inbox on SQS, Amazon's or the embedded stack's, and kombu's transport made safe for it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from kombu import Connection
from kombu.transport import SQS, virtual
from kombu.transport.SQS.exceptions import AccessDeniedQueueException

from consumers.broker.address import BrokerAddress
from consumers.broker.delivery import ATTEMPT, Delivery
from consumers.broker.inbox import Inbox
from consumers.broker.verdict import Retry
from consumers.broker.waker import Waker
from consumers.network.aws import make_client
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


class SqsChannel(SQS.Channel):  # type: ignore[misc]
    """A channel that delivers any message.

    kombu takes a JSON object with ``properties`` for an envelope of its own. If it is not
    one, reading it raises within ``drain_events``: the message would stay, and crash
    every consumer.
    """

    # The inbox gives unsettled messages back; kombu could only restore its own.
    do_restore = False

    def new_sqs_client(
        self,
        region: str,
        access_key_id: str | None,
        secret_access_key: str | None,
        session_token: None = None,
    ) -> Any:
        """Make botocore's client as elsewhere; kombu's own takes no certificate authority."""
        del session_token
        return make_client(
            "sqs",
            endpoint=self.endpoint_url,
            access_key=access_key_id,
            secret_key=secret_access_key,
            region=region,
            ca_file=self.transport_options["ca_file"],
        )

    def _message_to_python(self, message: dict[str, Any], queue_name: str, q_url: str) -> Any:
        try:
            payload = super()._message_to_python(message, queue_name, q_url)
            # kombu's next step, tried here where its error can be caught.
            parsed = virtual.Message(payload, channel=self)
            is_sound = isinstance(parsed.body, str | bytes) and isinstance(parsed.headers, dict)
        except Exception:
            is_sound = False
            payload = None
        if is_sound:
            return payload
        raw = message["Body"]
        text = raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else raw
        return self._envelope_payload({}, text, message, q_url)


class SqsTransport(SQS.Transport):  # type: ignore[misc]
    """The transport of `SqsChannel`."""

    Channel = SqsChannel


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
    address: BrokerAddress, route: Route, *, prefetch: int, lost_after: int = LOST_AFTER
) -> SqsInbox:
    """Connect, and begin to consume; `BrokerLostError` if SQS is unreachable or refuses."""
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
    return SqsInbox(connection, route, address.prefix, prefetch=prefetch, lost_after=lost_after)
