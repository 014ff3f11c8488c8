"""SQS' queues through botocore, outside of a consumer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from consumers.broker.address import BrokerAddress
from consumers.broker.errors import BrokerLostError, MissingQueueError
from consumers.errors import PermanentError
from consumers.network.aws import make_client
from events.routes import Route, queue_name

#: The codes by which services with SQS' protocols report a missing queue.
_MISSING = {
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "com.amazonaws.sqs#QueueDoesNotExist",
}

#: The codes for a body with characters that XML 1.0 lacks, or one that is too large.
_REFUSED = {"InvalidMessageContents", "InvalidParameterValue"}


#: Together all messages: waiting, in a consumer's hand, delayed.
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class SqsQueues:
    """The client, and the queues' URLs."""

    def __init__(self, address: BrokerAddress) -> None:
        self._urls: dict[str, str] = {}
        self.client = make_client(
            "sqs",
            endpoint=address.endpoint,
            access_key=address.access_key,
            secret_key=address.secret_key,
            region=address.region,
            ca_file=address.ca_file,
        )

    def url(self, queue: str) -> str:
        """Look a queue's URL up, once."""
        with translated(queue):
            if queue not in self._urls:
                self._urls[queue] = self.client.get_queue_url(QueueName=queue)["QueueUrl"]
            return self._urls[queue]

    def send(self, queue: str, body: str) -> None:
        """Put a message into a queue.

        Raises:
            BrokerLostError: SQS is unreachable or refuses.
            MissingQueueError: The queue does not exist.
            PermanentError: SQS does not accept the body.
        """
        url = self.url(queue)
        try:
            with translated(queue):
                self.client.send_message(QueueUrl=url, MessageBody=body)
        except BrokerLostError as exc:
            cause = exc.__cause__
            if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _REFUSED:
                raise PermanentError(f"SQS does not accept the message: {cause}") from cause
            raise

    def count(self, queue: str, *attributes: str) -> int:
        """Add up some of a queue's ``ApproximateNumberOf...`` attributes."""
        url = self.url(queue)
        with translated(queue):
            answer = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=list(attributes))
        return sum(int(answer["Attributes"][name]) for name in attributes)

    def close(self) -> None:
        """Close the client's connections; the queues stay."""
        self.client.close()


class SqsSender:
    """A sender on SQS. Its messages look like a store's."""

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
        """Count the route's messages: waiting, delayed or in a consumer's hand."""
        return self._queues.count(queue_name(self._prefix, route), *_COUNTS)


@contextmanager
def translated(queue: str) -> Iterator[None]:
    """Translate botocore's errors about a queue.

    Raises:
        BrokerLostError: SQS is unreachable or refuses.
        MissingQueueError: The queue does not exist.
    """
    try:
        yield
    except ClientError as exc:
        if exc.response.get("Error", {}).get("Code") in _MISSING:
            raise MissingQueueError(
                f"queue {queue} does not exist: run dropscribe bootstrap"
            ) from exc
        raise BrokerLostError(f"the broker rejected the request: {exc}") from exc
    except BotoCoreError as exc:
        raise BrokerLostError(f"the broker is unreachable: {exc}") from exc


@contextmanager
def open_sqs_sender(address: BrokerAddress) -> Iterator[SqsSender]:
    """Open a sender with a client of its own, closed at the end of the block."""
    with closing(SqsQueues(address)) as queues:
        yield SqsSender(queues, address.prefix)
