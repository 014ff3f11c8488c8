"""SQS' queues through botocore, outside of a consumer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    """Requests about queues, each by its name; a `Sender`, whose messages look like a store's."""

    def __init__(self, address: BrokerAddress) -> None:
        self._prefix = address.prefix
        self._urls: dict[str, str] = {}
        self.client = make_client(
            "sqs",
            endpoint=address.endpoint,
            access_key=address.access_key,
            secret_key=address.secret_key,
            region=address.region,
            ca_file=address.ca_file,
        )

    def request(self, operation: str, queue: str, **parameters: object) -> dict[str, Any]:
        """Make one of botocore's requests about a queue, whose URL is looked up once.

        Raises:
            BrokerLostError: SQS is unreachable or refuses.
            MissingQueueError: The queue does not exist.
        """
        try:
            if queue not in self._urls:
                self._urls[queue] = self.client.get_queue_url(QueueName=queue)["QueueUrl"]
            request: Callable[..., dict[str, Any]] = getattr(self.client, operation)
            return request(QueueUrl=self._urls[queue], **parameters)
        except ClientError as exc:
            if _code(exc) in _MISSING:
                raise MissingQueueError(
                    f"queue {queue} does not exist: run dropscribe bootstrap"
                ) from exc
            raise BrokerLostError(f"the broker rejected the request: {exc}") from exc
        except BotoCoreError as exc:
            raise BrokerLostError(f"the broker is unreachable: {exc}") from exc

    def send(self, route: Route, body: str | bytes) -> None:
        """See `Sender`."""
        text = body if isinstance(body, str) else body.decode(errors="backslashreplace")
        self.announce(queue_name(self._prefix, route), text)

    def announce(self, queue: str, body: str) -> None:
        """See `Sender`. SQS has no content types."""
        try:
            self.request("send_message", queue, MessageBody=body)
        except BrokerLostError as exc:
            if _code(exc.__cause__) in _REFUSED:
                raise PermanentError(f"SQS does not accept the message: {exc.__cause__}") from exc
            raise

    def depth(self, route: Route) -> int:
        """See `Sender`."""
        return self.count(queue_name(self._prefix, route), *_COUNTS)

    def count(self, queue: str, *attributes: str) -> int:
        """Add up some of a queue's ``ApproximateNumberOf...`` attributes."""
        answer = self.request("get_queue_attributes", queue, AttributeNames=list(attributes))
        return sum(int(answer["Attributes"][name]) for name in attributes)

    def close(self) -> None:
        """Close the client's connections; the queues stay."""
        self.client.close()


def _code(exc: BaseException | None) -> str | None:
    """Return the code of a service's error; None for any other."""
    return exc.response.get("Error", {}).get("Code") if isinstance(exc, ClientError) else None
