"""The route's queues on the embedded SQS, seen and moved from outside."""

from __future__ import annotations

import base64
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from consumers.broker.connect import make_dead_letter_queues, open_sender
from consumers.broker.dead_letters import DeadLetterQueues
from consumers.broker.sender import Sender
from consumers.runtime.loop import OpenInbox
from events.routes import dead_letter_queue_name, queue_name, review_queue_name
from ops.bootstrap import bootstrap
from ops.wiring.adapters import make_topology, open_inbox
from ops.wiring.environment import Environment
from ops.wiring.settings import read_broker_address
from tests.contracts.loop import ROUTE, Opener, notification
from tests.contracts.poison import LIMIT
from tests.harness.servers.store import boto_client

#: Seconds after which SQS redelivers the work of a killed consumer.
VISIBILITY = 2


@dataclass(frozen=True)
class Away:
    """Leads to an SQS that is not there."""

    open_inbox: OpenInbox


class EmbeddedQueues:
    """The route's queues on the embedded SQS."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.open_inbox = open_inbox(environment, ROUTE)
        self.address = address = read_broker_address(environment)
        self._topology = make_topology(environment)
        self._sqs = boto_client("sqs", address)
        self.url = self._url(queue_name(address.prefix, ROUTE))
        self.dead_url = self._url(dead_letter_queue_name(address.prefix, ROUTE))

    def _url(self, name: str) -> str:
        url: str = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        return url

    def send(self, *keys: str, body: str | None = None) -> None:
        self._sqs.send_message(QueueUrl=self.url, MessageBody=body or notification(keys))

    def _count(self, url: str, *names: str) -> int:
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        return sum(int(answer["Attributes"][name]) for name in names)

    def unsettled(self) -> int:
        return self._count(
            self.url,
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )

    def waiting(self) -> int:
        return self._count(self.url, "ApproximateNumberOfMessages")

    def remove(self) -> None:
        self._sqs.delete_queue(QueueUrl=self.url)

    def make(self) -> None:
        list(bootstrap(self._environment))

    def set_visibility(self, seconds: int) -> None:
        """Set the time after which SQS redelivers."""
        self._sqs.set_queue_attributes(
            QueueUrl=self.url, Attributes={"VisibilityTimeout": str(seconds)}
        )

    def consumer(self, group: int) -> list[str]:
        url = self._environment.get("BROKER_URL") or ""
        arguments = [url, self.address.prefix, str(LIMIT), str(VISIBILITY), str(group)]
        return ["-m", "tests.integration.consumer", *arguments]

    def sender(self) -> AbstractContextManager[Sender]:
        return open_sender(self.address, self._topology)

    @property
    def review_queue(self) -> str:
        return review_queue_name(self.address.prefix)

    def announced(self) -> list[str]:
        return take(self._sqs, self._url(self.review_queue))

    def away_sender(self) -> AbstractContextManager[Sender]:
        away = replace(self.address, endpoint="http://127.0.0.1:9")
        return open_sender(away, self._topology)

    def dead_letters(self) -> DeadLetterQueues:
        return make_dead_letter_queues(self.address)

    def away_dead_letters(self) -> DeadLetterQueues:
        return make_dead_letter_queues(replace(self.address, endpoint="http://127.0.0.1:9"))

    def put_dead(self, body: str | bytes) -> None:
        text = body if isinstance(body, str) else body.decode()
        self._sqs.send_message(QueueUrl=self.dead_url, MessageBody=text)

    def take_and_leave(self) -> None:
        """Receive messages and release them without a verdict, as a dying consumer does."""
        messages = self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        for message in messages.get("Messages", []):
            self._sqs.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )

    def away(self) -> Opener:
        return Away(open_inbox(Environment({"BROKER_URL": "sqs://a:b@127.0.0.1:9"}), ROUTE))

    def dead_count(self) -> int:
        return self._count(self.dead_url, "ApproximateNumberOfMessages")

    def dead(self) -> list[dict[str, Any]]:
        messages = self._sqs.receive_message(
            QueueUrl=self.dead_url, MaxNumberOfMessages=10, VisibilityTimeout=0
        ).get("Messages", [])
        return [_letter(message["Body"]) for message in messages]


def take(sqs: Any, url: str) -> list[str]:
    """Take the messages that a queue returns at once."""
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [message["Body"] for message in messages]


def _letter(body: str) -> dict[str, Any]:
    """Open kombu's envelope."""
    envelope = json.loads(base64.b64decode(body))
    letter: dict[str, Any] = json.loads(base64.b64decode(envelope["body"]))
    return letter
