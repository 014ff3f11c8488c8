"""The loop on SQS."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from consumers.loop import OpenInbox
from events.event import ObjectCreated
from events.routes import dead_letter_queue_name, queue_name
from ops.bootstrap import bootstrap
from ops.composition import open_inbox
from ops.environment import Environment
from ops.settings import read_broker_address
from tests.contracts.loop import (
    ROUTE,
    LoopContract,
    Opener,
    Recorder,
    notification,
    running,
    settled,
)


@dataclass(frozen=True)
class Away:
    """Leads to an SQS that is not there."""

    open_inbox: OpenInbox


class SqsQueues:
    """The route's queues on the embedded SQS."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.open_inbox = open_inbox(environment, ROUTE)
        address = read_broker_address(environment)
        self._sqs: Any = boto3.client(
            "sqs",
            endpoint_url=address.endpoint,
            aws_access_key_id=address.access_key,
            aws_secret_access_key=address.secret_key,
            region_name=address.region,
        )
        self.url = self._url(queue_name(address.prefix, ROUTE))
        self.dead_url = self._url(dead_letter_queue_name(address.prefix, ROUTE))

    def _url(self, name: str) -> str:
        url: str = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        return url

    def send(self, *keys: str, body: str | None = None) -> None:
        self._sqs.send_message(QueueUrl=self.url, MessageBody=body or notification(keys))

    def unsettled(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        names.append("ApproximateNumberOfMessagesDelayed")
        answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def waiting(self) -> int:
        names = ["ApproximateNumberOfMessages"]
        answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return int(answer["Attributes"][names[0]])

    def remove(self) -> None:
        self._sqs.delete_queue(QueueUrl=self.url)

    def make(self) -> None:
        list(bootstrap(self._environment))

    def away(self) -> Opener:
        return Away(open_inbox(Environment({"BROKER_URL": "sqs://a:b@127.0.0.1:9"}), ROUTE))

    def dead(self) -> list[dict[str, Any]]:
        messages = self._sqs.receive_message(
            QueueUrl=self.dead_url, MaxNumberOfMessages=10, VisibilityTimeout=0
        ).get("Messages", [])
        return [_letter(message["Body"]) for message in messages]


def _letter(body: str) -> dict[str, Any]:
    """Open kombu's envelope."""
    envelope = json.loads(base64.b64decode(body))
    letter: dict[str, Any] = json.loads(base64.b64decode(envelope["body"]))
    return letter


@pytest.fixture
def queues(environment: Environment) -> SqsQueues:
    return SqsQueues(environment)


class TestLoopOnSqs(LoopContract):
    """The contract."""


def test_work_that_outlasts_the_visibility_timeout_is_not_delivered_twice(
    queues: SqsQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.broker.sqs.VISIBILITY", 3)
    queues._sqs.set_queue_attributes(QueueUrl=queues.url, Attributes={"VisibilityTimeout": "3"})
    waiting = threading.Event()

    def work(_: ObjectCreated) -> None:
        waiting.wait(8)

    handler = Recorder(work)
    queues.send("archives/a.tar")
    with running(queues, handler), running(queues, handler):
        settled(queues)
    assert handler.keys == ["archives/a.tar"]
