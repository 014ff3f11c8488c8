"""Sending to queues on SQS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from consumers.broker.address import BrokerAddress
from consumers.broker.sqs_queues import SqsQueues
from events.routes import Route, queue_name

#: All that is not deleted: waiting, in a consumer's hand, delayed.
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class SqsSender:
    """A sender on SQS. What it sends looks like what a store sends."""

    def __init__(self, queues: SqsQueues, prefix: str) -> None:
        self._queues = queues
        self._prefix = prefix

    def send(self, route: Route, body: str | bytes) -> None:
        """Put one notification into the route's queue."""
        text = body if isinstance(body, str) else body.decode(errors="backslashreplace")
        self._queues.send(queue_name(self._prefix, route), text)

    def announce(self, queue: str, body: str) -> None:
        """Put one message into a queue. SQS has no content types."""
        self._queues.send(queue, body)

    def depth(self, route: Route) -> int:
        """Count what waits in the route's queue, is delayed, or in hand."""
        return self._queues.count(queue_name(self._prefix, route), *_COUNTS)


@contextmanager
def open_sqs_sender(address: BrokerAddress) -> Iterator[SqsSender]:
    """Send for as long as the block runs."""
    with closing(SqsQueues(address)) as queues:
        yield SqsSender(queues, address.prefix)
