"""The loop on a real queue: one verdict per delivery, and nothing escapes."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
import structlog

from consumers.errors import BadAudioError, TransientError
from consumers.loop import Loop, Stop
from events.event import ObjectCreated
from events.routes import dead_letter_queue_name, queue_name
from ops.bootstrap import bootstrap
from ops.composition import open_inbox, route_named
from ops.environment import Environment
from ops.settings import read_broker_address
from tests.integration.conftest import eventually

ROUTE = route_named("unpack")

Behaviour = Callable[[ObjectCreated], Exception | None]


class Recorder:
    """A handler that remembers what it was given, and behaves as it is told."""

    def __init__(self, behaviour: Behaviour, group: int = 1) -> None:
        self.group = group
        self.calls: list[list[str]] = []
        self.given_up: list[tuple[str, str]] = []
        self._behaviour = behaviour

    @property
    def keys(self) -> list[str]:
        return [key for call in self.calls for key in call]

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        self.calls.append([event.key for event in events])
        return [self._behaviour(event) for event in events]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        self.given_up.append((event.key, error))


class Queues:
    """The route's queues, from outside."""

    def __init__(self, environment: Environment) -> None:
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
        records = [
            {
                "eventSource": "ceph:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "b"}, "object": {"key": key}},
            }
            for key in keys
        ]
        self._sqs.send_message(
            QueueUrl=self.url, MessageBody=body or json.dumps({"Records": records})
        )

    def unsettled(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        names.append("ApproximateNumberOfMessagesDelayed")
        answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def visible(self) -> int:
        names = ["ApproximateNumberOfMessages"]
        answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return int(answer["Attributes"][names[0]])

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
def queues(environment: Environment) -> Queues:
    return Queues(environment)


@contextmanager
def running(
    environment: Environment, handler: Recorder, *, drain_seconds: float = 5.0, workers: int = 1
) -> Iterator[tuple[Stop, threading.Thread]]:
    stop = Stop()
    loop = Loop(
        route=ROUTE,
        handler=handler,
        open_inbox=open_inbox(environment, ROUTE),
        log=structlog.get_logger(),
        workers=workers,
        drain_seconds=drain_seconds,
        delays=(1.0, 1.0, 1.0),
    )
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    try:
        yield stop, thread
    finally:
        stop.asked.set()
        stop.now.set()
        thread.join(15)
        assert not thread.is_alive()


def settled(queues: Queues) -> None:
    """Wait until nothing is left in the queue.

    Asked twice: a message can pass from one count to another between them.
    """

    def look() -> bool | None:
        return (queues.unsettled() == 0 and queues.unsettled() == 0) or None

    eventually(look, seconds=20)


def test_what_is_done_is_acked(environment: Environment, queues: Queues) -> None:
    handler = Recorder(lambda _: None)
    queues.send("archives/a.tar", "archives/b.tar")
    queues.send("archives/c.tar")
    with running(environment, handler):
        settled(queues)
    assert sorted(handler.keys) == ["archives/a.tar", "archives/b.tar", "archives/c.tar"]
    assert queues.dead() == []


@pytest.mark.parametrize("error", [TimeoutError("slow"), OSError("disk"), ValueError("a bug")])
def test_whatever_a_handler_raises_the_delivery_comes_again(
    environment: Environment, queues: Queues, error: Exception
) -> None:
    def fail_once(_: ObjectCreated) -> None:
        if len(handler.calls) == 1:
            raise error

    handler = Recorder(fail_once)
    queues.send("archives/a.tar")
    with running(environment, handler):
        settled(queues)
    assert handler.keys == ["archives/a.tar"] * 2
    assert queues.dead() == []


def test_after_its_last_attempt_a_delivery_is_kept_with_all_that_is_known(
    environment: Environment, queues: Queues
) -> None:
    handler = Recorder(lambda _: TransientError("the store is away"))
    queues.send("archives/a.tar")
    with running(environment, handler):
        settled(queues)
    (letter,) = queues.dead()
    assert len(handler.calls) == 4
    assert letter["route"] == "unpack"
    assert letter["reason"] == "exhausted"
    assert letter["error"] == "the store is away"
    assert letter["attempts"] == 4
    assert json.loads(letter["body"])["Records"][0]["s3"]["object"]["key"] == "archives/a.tar"
    assert handler.given_up == [("archives/a.tar", "the store is away")]


def test_what_cannot_be_helped_is_kept_at_once(environment: Environment, queues: Queues) -> None:
    handler = Recorder(lambda _: BadAudioError("no sound"))
    queues.send("archives/a.tar")
    with running(environment, handler):
        settled(queues)
    assert len(handler.calls) == 1
    assert [letter["reason"] for letter in queues.dead()] == ["permanent"]


POISON = [
    "no JSON",
    "{}",
    '{"Records": "no"}',
    "bm8gSlNPTg==",
    # What looks like kombu's own envelope, and is none.
    '{"properties": 5}',
    '{"properties": null}',
    '{"a": {"__type__": "nope", "__value__": 1}}',
    '{"body": "x", "headers": [1], "properties": {}}',
    '{"body": "x", "properties": {"body_encoding": "rot13"}}',
    '{"body": 7, "properties": {}}',
    "[" * 20_000,
]


@pytest.mark.parametrize("body", POISON)
def test_a_message_that_is_no_notification_is_kept_and_its_neighbours_are_done(
    environment: Environment, queues: Queues, body: str
) -> None:
    handler = Recorder(lambda _: None, group=8)
    queues.send(body=body)
    queues.send("archives/a.tar")
    with running(environment, handler):
        settled(queues)
    assert handler.keys == ["archives/a.tar"]
    assert [letter["reason"] for letter in queues.dead()] == ["malformed"]


def test_a_group_that_fails_as_a_whole_is_tried_one_by_one(
    environment: Environment, queues: Queues
) -> None:
    class Clumsy(Recorder):
        def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
            super().handle(events)
            if any(event.key == "archives/bad.tar" for event in events):
                raise MemoryError("all at once")
            return [None for _ in events]

    handler = Clumsy(lambda _: None, group=4)
    for name in ("a", "bad", "b"):
        queues.send(f"archives/{name}.tar")
    with running(environment, handler):
        settled(queues)
    assert [letter["attempts"] for letter in queues.dead()] == [4]
    assert handler.given_up == [("archives/bad.tar", "MemoryError: all at once")]


def test_what_is_away_is_away_for_a_whole_group(environment: Environment, queues: Queues) -> None:
    class Away(Recorder):
        def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
            super().handle(events)
            raise TransientError("the database is away")

    handler = Away(lambda _: None, group=4)
    for number in range(4):
        queues.send(f"archives/{number}.tar")
    with running(environment, handler):
        settled(queues)
    assert len(handler.keys) == 16
    assert len(queues.dead()) == 4


def test_a_queue_that_is_not_there_is_waited_for(environment: Environment, queues: Queues) -> None:
    handler = Recorder(lambda _: None)
    with running(environment, handler) as (_, thread):
        queues.send("archives/a.tar")
        settled(queues)
        queues._sqs.delete_queue(QueueUrl=queues.url)
        time.sleep(3)
        assert thread.is_alive()
        list(bootstrap(environment))
        queues.send("archives/b.tar")
        eventually(lambda: len(handler.keys) == 2 or None, seconds=20)


def test_a_broker_that_is_away_is_waited_for_and_can_be_given_up() -> None:
    away = Environment({"BROKER_URL": "sqs://a:b@127.0.0.1:9"})
    with running(away, Recorder(lambda _: None)) as (_, thread):
        time.sleep(9)
        assert thread.is_alive()


def test_a_fault_of_our_own_ends_the_consumer_rather_than_leave_it_deaf(
    environment: Environment, queues: Queues
) -> None:
    class Broken(Recorder):
        def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
            return []

    loop = Loop(
        route=ROUTE,
        handler=Broken(lambda _: None),
        open_inbox=open_inbox(environment, ROUTE),
        log=structlog.get_logger(),
    )
    queues.send("archives/a.tar")
    with pytest.raises(ValueError, match="zip"):
        loop.run(Stop())


def test_asked_to_stop_it_finishes_what_it_has_in_hand(
    environment: Environment, queues: Queues
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(_: ObjectCreated) -> None:
        begun.set()
        assert go_on.wait(10)

    queues.send("archives/a.tar")
    with running(environment, Recorder(work)) as (stop, thread):
        assert begun.wait(10)
        stop.asked.set()
        go_on.set()
        thread.join(10)
        assert not thread.is_alive()
    assert queues.unsettled() == 0


def test_what_does_not_finish_in_time_is_given_back(
    environment: Environment, queues: Queues
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(_: ObjectCreated) -> None:
        begun.set()
        assert go_on.wait(30)

    queues.send("archives/a.tar")
    with running(environment, Recorder(work), drain_seconds=0.5) as (stop, thread):
        assert begun.wait(10)
        stop.asked.set()
        thread.join(10)
        assert not thread.is_alive()
        # At once, not when SQS would have taken it back by itself.
        eventually(lambda: queues.visible() or None, seconds=5)
        go_on.set()


def test_work_that_outlasts_the_visibility_timeout_is_not_delivered_twice(
    environment: Environment, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.broker.sqs.VISIBILITY", 3)
    queues._sqs.set_queue_attributes(QueueUrl=queues.url, Attributes={"VisibilityTimeout": "3"})
    waiting = threading.Event()

    def work(_: ObjectCreated) -> None:
        waiting.wait(8)

    handler = Recorder(work)
    queues.send("archives/a.tar")
    with running(environment, handler), running(environment, handler):
        settled(queues)
    assert handler.keys == ["archives/a.tar"]
