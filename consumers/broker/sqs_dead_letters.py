"""Dead letters on SQS."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from consumers.broker.address import BrokerAddress
from consumers.broker.dead_letters import (
    BrokerDeath,
    DeadLetterIds,
    HeldDeadLetter,
    StoredDeadLetter,
    as_text,
)
from consumers.broker.delivery import attempt_in
from consumers.broker.sqs_queues import SqsQueues
from consumers.errors import TransientError
from consumers.portions import portions
from events.routes import Route, dead_letter_queue_name

#: Seconds for which a message is held. A longer walk receives it once more, and holds it
#: again.
_HOLD = 60

#: Seconds for which SQS searches all of its servers for messages.
_LONG_POLL = 1

#: The most messages in one request.
_PAGE = 10

#: The number of pages without a new message that ends a walk.
_REPEATS = 10


class SqsDeadLetterWalk:
    """A `DeadLetterWalk` on SQS, which keeps the ids and receipt handles in memory."""

    def __init__(self, address: BrokerAddress, route: Route) -> None:
        self._queues = SqsQueues(address)
        self._route = route
        self._queue = dead_letter_queue_name(address.prefix, route)
        self._receipts: dict[str, str] = {}
        self._begun: float | None = None
        self._passed = 0.0

    def count(self) -> int:
        """See `DeadLetterWalk`."""
        return self._queues.count(self._queue, "ApproximateNumberOfMessages")

    def held(self) -> Iterator[HeldDeadLetter]:
        """See `DeadLetterWalk`."""
        ids = DeadLetterIds(self._route)
        repeats = 0
        while repeats < _REPEATS and (page := self._receive()):
            new = [each for each in page if each["MessageId"] not in self._receipts]
            self._receipts |= {each["MessageId"]: each["ReceiptHandle"] for each in page}
            repeats = 0 if new else repeats + 1
            for message in new:
                if self._is_younger(message):
                    continue
                self._let_the_clock_pass()
                stored, headers = open_envelope(message["Body"])
                letter = StoredDeadLetter.read(ids.of(stored), self._route, stored, _death(headers))
                yield HeldDeadLetter(letter, partial(self._discard, message["MessageId"]))

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._queues.request(
            "receive_message",
            self._queue,
            MaxNumberOfMessages=_PAGE,
            VisibilityTimeout=_HOLD,
            WaitTimeSeconds=_LONG_POLL,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        if self._begun is None:
            date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
            # By the server's own clock, in seconds; messages have milliseconds.
            self._begun = parsedate_to_datetime(date).timestamp() + 1 if date else float("inf")
            self._passed = time.monotonic() + 1
        page: list[dict[str, Any]] = answer.get("Messages", [])
        return page

    def _is_younger(self, message: dict[str, Any]) -> bool:
        sent = int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000
        return self._begun is not None and sent > self._begun

    def _let_the_clock_pass(self) -> None:
        """Wait until the server's clock is past the second in which the walk began.

        Otherwise a message that is replayed from this walk and dies again within that
        second looks like one that was there before, and is replayed twice.
        """
        time.sleep(max(0.0, self._passed - time.monotonic()))

    def _discard(self, name: str) -> None:
        self._queues.request("delete_message", self._queue, ReceiptHandle=self._receipts[name])
        # `close` skips it.
        self._receipts[name] = ""

    def close(self) -> None:
        """Make the held messages visible to others at once."""
        receipts = (receipt for receipt in self._receipts.values() if receipt)
        # If that fails, they become visible when their time is up.
        with suppress(TransientError):
            for page in portions(receipts, _PAGE):
                self._queues.request(
                    "change_message_visibility_batch",
                    self._queue,
                    Entries=[
                        {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                        for number, receipt in enumerate(page)
                    ],
                )
        self._queues.close()


def _death(headers: Mapping[str, Any]) -> BrokerDeath:
    error = (
        "SQS dead-lettered it, as it was redelivered too often without a verdict: "
        "it may be crashing consumers"
    )
    return BrokerDeath(error, attempt_in(headers), None)


def open_envelope(stored: str) -> tuple[str | bytes, Mapping[str, Any]]:
    """Unwrap the envelope in which kombu puts a message on SQS.

    Returns the wrapped body, as text if it is UTF-8, and its headers; ``stored`` itself and
    no headers if it is not an envelope.
    """
    try:
        envelope = json.loads(base64.b64decode(stored, validate=True))
        body = envelope["body"]
        headers = envelope["headers"]
        if envelope["properties"].get("body_encoding") == "base64":
            body = as_text(base64.b64decode(body, validate=True))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return stored, {}
    if not isinstance(body, str | bytes) or not isinstance(headers, dict):
        return stored, {}
    return body, headers
