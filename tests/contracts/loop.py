"""The contract of the loop on any broker: one verdict per delivery, and nothing escapes."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import pytest
import structlog

from consumers.broker.inbox import Inbox
from consumers.errors import BadAudioError, TransientError
from consumers.runtime.loop import Loop, Stop
from events.event import ObjectCreated
from events.routes import ROUTES
from tests.harness.polling import eventually

ROUTE = ROUTES[0]

T = TypeVar("T")

Behaviour = Callable[[ObjectCreated], Exception | None]


class Recorder:
    """A handler that records its calls, and behaves as a test asks."""

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


class Opener(Protocol):
    """Connects to the route's queue."""

    def open_inbox(self, *, prefetch: int) -> Inbox:
        """Open an inbox."""


class Queues(Opener, Protocol):
    """The route's queues, from outside."""

    def send(self, *keys: str, body: str | None = None) -> None:
        """Send one notification of these objects, or this body."""

    def unsettled(self) -> int:
        """Count the messages without a verdict: waiting, delayed or in hand."""

    def waiting(self) -> int:
        """Count the messages that a consumer would get now."""

    def dead(self) -> list[dict[str, Any]]:
        """Read the dead letters, and leave them there."""

    def remove(self) -> None:
        """Delete the route's queue."""

    def make(self) -> None:
        """Declare missing queues, as bootstrap does."""

    def away(self) -> Opener:
        """Connect to a broker that does not exist."""


def notification(keys: Sequence[str]) -> str:
    """Build the notification that a store sends for these objects."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventSource": "ceph:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": "b"}, "object": {"key": key}},
                }
                for key in keys
            ]
        }
    )


def make_log() -> Any:
    """Log to standard error: a command of another test may print into standard output."""
    return structlog.wrap_logger(structlog.PrintLogger(sys.stderr))


@contextmanager
def running(
    queues: Opener, handler: Recorder, *, drain_seconds: float = 5.0, workers: int = 1
) -> Iterator[tuple[Stop, threading.Thread]]:
    stop = Stop()
    loop = Loop(
        route=ROUTE,
        handler=handler,
        open_inbox=queues.open_inbox,
        log=make_log(),
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

    eventually(lambda: queues.unsettled() == 0 and queues.unsettled() == 0, seconds=30)


POISON = [
    "no JSON",
    "{}",
    '{"Records": "no"}',
    "bm8gSlNPTg==",
    # These look like kombu's own envelope, and are not.
    '{"properties": 5}',
    '{"properties": null}',
    '{"a": {"__type__": "nope", "__value__": 1}}',
    '{"body": "x", "headers": [1], "properties": {}}',
    '{"body": "x", "properties": {"body_encoding": "rot13"}}',
    '{"body": 7, "properties": {}}',
    "[" * 20_000,
]


class LoopContract:
    """Inherit it, and provide a fixture ``queues``."""

    def test_finished_deliveries_are_acked(self, queues: Queues) -> None:
        handler = Recorder(lambda _: None)
        queues.send("archives/a.tar", "archives/b.tar")
        queues.send("archives/c.tar")
        with running(queues, handler):
            settled(queues)
        assert sorted(handler.keys) == ["archives/a.tar", "archives/b.tar", "archives/c.tar"]
        assert queues.dead() == []

    @pytest.mark.parametrize("error", [TimeoutError("slow"), OSError("disk"), ValueError("a bug")])
    def test_a_delivery_is_retried_after_any_exception(
        self, queues: Queues, error: Exception
    ) -> None:
        def fail_once(_: ObjectCreated) -> None:
            if len(handler.calls) == 1:
                raise error

        handler = Recorder(fail_once)
        queues.send("archives/a.tar")
        with running(queues, handler):
            settled(queues)
        assert handler.keys == ["archives/a.tar"] * 2
        assert queues.dead() == []

    def test_an_exhausted_delivery_is_dead_lettered_with_its_facts(self, queues: Queues) -> None:
        handler = Recorder(lambda _: TransientError("the store is away"))
        queues.send("archives/a.tar")
        with running(queues, handler):
            settled(queues)
        (letter,) = queues.dead()
        assert len(handler.calls) == 4
        assert letter["route"] == "unpack"
        assert letter["reason"] == "exhausted"
        assert letter["error"] == "the store is away"
        assert letter["attempts"] == 4
        assert json.loads(letter["body"])["Records"][0]["s3"]["object"]["key"] == "archives/a.tar"
        assert handler.given_up == [("archives/a.tar", "the store is away")]

    def test_permanent_failures_become_dead_letters_at_once(self, queues: Queues) -> None:
        handler = Recorder(lambda _: BadAudioError("no sound"))
        queues.send("archives/a.tar")
        with running(queues, handler):
            settled(queues)
        assert len(handler.calls) == 1
        assert [letter["reason"] for letter in queues.dead()] == ["permanent"]

    @pytest.mark.parametrize("body", POISON)
    def test_a_malformed_message_is_dead_lettered_and_others_finish(
        self, queues: Queues, body: str
    ) -> None:
        handler = Recorder(lambda _: None, group=8)
        queues.send(body=body)
        queues.send("archives/a.tar")
        with running(queues, handler):
            settled(queues)
        assert handler.keys == ["archives/a.tar"]
        assert [letter["reason"] for letter in queues.dead()] == ["malformed"]

    def test_a_group_that_fails_as_a_whole_is_tried_one_by_one(self, queues: Queues) -> None:
        class Clumsy(Recorder):
            def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
                super().handle(events)
                if any(event.key == "archives/bad.tar" for event in events):
                    raise MemoryError("all at once")
                return [None for _ in events]

        handler = Clumsy(lambda _: None, group=4)
        for name in ("a", "bad", "b"):
            queues.send(f"archives/{name}.tar")
        with running(queues, handler):
            settled(queues)
        assert [letter["attempts"] for letter in queues.dead()] == [4]
        assert handler.given_up == [("archives/bad.tar", "MemoryError: all at once")]

    def test_an_unavailable_server_delays_the_whole_group(self, queues: Queues) -> None:
        class Away(Recorder):
            def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
                super().handle(events)
                raise TransientError("the database is away")

        handler = Away(lambda _: None, group=4)
        for number in range(4):
            queues.send(f"archives/{number}.tar")
        with running(queues, handler):
            settled(queues)
        assert len(handler.keys) == 16
        assert len(queues.dead()) == 4

    def test_a_queue_that_is_not_there_is_waited_for(self, queues: Queues) -> None:
        handler = Recorder(lambda _: None)
        with running(queues, handler) as (_, thread):
            queues.send("archives/a.tar")
            settled(queues)
            queues.remove()
            time.sleep(3)
            assert thread.is_alive()
            queues.make()
            queues.send("archives/b.tar")
            eventually(lambda: len(handler.keys) == 2, seconds=20)

    def test_an_unreachable_broker_is_waited_for_until_told_to_stop(self, queues: Queues) -> None:
        with running(queues.away(), Recorder(lambda _: None)) as (_, thread):
            time.sleep(9)
            assert thread.is_alive()

    def test_a_programming_error_ends_the_consumer(self, queues: Queues) -> None:
        class Broken(Recorder):
            def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
                return []

        loop = Loop(
            route=ROUTE,
            handler=Broken(lambda _: None),
            open_inbox=queues.open_inbox,
            log=make_log(),
        )
        queues.send("archives/a.tar")
        with pytest.raises(ValueError, match="zip"):
            loop.run(Stop())

    def test_asked_to_stop_it_finishes_deliveries_in_hand(self, queues: Queues) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def work(_: ObjectCreated) -> None:
            begun.set()
            assert go_on.wait(10)

        queues.send("archives/a.tar")
        with running(queues, Recorder(work)) as (stop, thread):
            assert begun.wait(10)
            stop.asked.set()
            go_on.set()
            thread.join(10)
            assert not thread.is_alive()
        assert queues.unsettled() == 0

    def test_unfinished_deliveries_are_returned_at_the_deadline(self, queues: Queues) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def work(_: ObjectCreated) -> None:
            begun.set()
            assert go_on.wait(30)

        queues.send("archives/a.tar")
        with running(queues, Recorder(work), drain_seconds=0.5) as (stop, thread):
            assert begun.wait(10)
            stop.asked.set()
            thread.join(10)
            assert not thread.is_alive()
            # At once, not when the broker's own timeout would redeliver it.
            eventually(queues.waiting, seconds=5, slack=1)
            go_on.set()
