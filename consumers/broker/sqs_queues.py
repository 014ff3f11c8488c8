"""SQS' queues through botocore, for what is no consumer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from consumers.broker.address import BrokerAddress
from consumers.broker.errors import BrokerLostError, MissingQueueError
from consumers.errors import PermanentError
from consumers.network.aws import make_client

#: By which services that speak SQS' protocols say that there is no such queue.
_MISSING = {
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "com.amazonaws.sqs#QueueDoesNotExist",
}

#: What can't be sent: characters that XML 1.0 does not have, or too much.
_REFUSED = {"InvalidMessageContents", "InvalidParameterValue"}


class SqsQueues:
    """The client, and the queues' URLs.

    Args:
        address: An SQS'.
    """

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
        """Ask for a queue's URL, once."""
        with translated(queue):
            if queue not in self._urls:
                self._urls[queue] = self.client.get_queue_url(QueueName=queue)["QueueUrl"]
            return self._urls[queue]

    def send(self, queue: str, body: str) -> None:
        """Put a message into a queue.

        Raises:
            BrokerLostError: SQS can't be reached, or refuses.
            MissingQueueError: The queue is not there.
            PermanentError: SQS takes no such body.
        """
        url = self.url(queue)
        try:
            with translated(queue):
                self.client.send_message(QueueUrl=url, MessageBody=body)
        except BrokerLostError as exc:
            cause = exc.__cause__
            if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _REFUSED:
                raise PermanentError(f"SQS takes no such message: {cause}") from cause
            raise

    def count(self, queue: str, *attributes: str) -> int:
        """Add up some of a queue's ``ApproximateNumberOf...`` attributes."""
        url = self.url(queue)
        with translated(queue):
            answer = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=list(attributes))
        return sum(int(answer["Attributes"][name]) for name in attributes)

    def close(self) -> None:
        """Close the client's connections."""
        self.client.close()


@contextmanager
def translated(queue: str) -> Iterator[None]:
    """Translate botocore's errors about a queue.

    Raises:
        BrokerLostError: SQS can't be reached, or refuses.
        MissingQueueError: The queue is not there.
    """
    try:
        yield
    except ClientError as exc:
        if exc.response.get("Error", {}).get("Code") in _MISSING:
            raise MissingQueueError(
                f"queue {queue} is not there: run dropscribe bootstrap"
            ) from exc
        raise BrokerLostError(f"the broker refuses: {exc}") from exc
    except BotoCoreError as exc:
        raise BrokerLostError(f"the broker can't be reached: {exc}") from exc
