"""The contract of `consumers.broker.sender.Sender`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from consumers.broker.errors import BrokerLostError, MissingQueueError
from consumers.broker.sender import Sender
from consumers.errors import TransientError
from events.notification import encode
from tests.contracts.loop import ROUTE, Queues, Recorder, running, settled
from tests.harness.polling import eventually


class SenderQueues(Queues, Protocol):
    """The route's queues, and senders to them."""

    @property
    def review_queue(self) -> str:
        """The name of the queue that announces review items."""

    def sender(self) -> AbstractContextManager[Sender]:
        """Send to them."""

    def announced(self) -> list[str]:
        """Take the messages in the queue that announces review items."""

    def away_sender(self) -> AbstractContextManager[Sender]:
        """Send to a broker that does not exist."""


class SenderContract:
    """Inherit it, and provide a fixture ``queues``."""

    @pytest.mark.parametrize("body", [encode("b", "archives/a b.tar"), b'{"Records": []}'])
    def test_a_sent_event_waits_for_a_consumer(
        self, queues: SenderQueues, body: str | bytes
    ) -> None:
        with queues.sender() as sender:
            # The queue may hold a store's test event.
            before = sender.depth(ROUTE)
            sender.send(ROUTE, body)
            sender.send(ROUTE, body)
            eventually(lambda: sender.depth(ROUTE) == before + 2, seconds=5)
            handler = Recorder(lambda _: None)
            with running(queues, handler):
                settled(queues)
            assert sender.depth(ROUTE) == 0
        assert set(handler.keys) <= {"archives/a b.tar"}
        assert queues.dead() == []

    def test_delayed_messages_count_as_waiting(self, queues: SenderQueues) -> None:
        handler = Recorder(lambda _: TransientError("the store is away"))
        with queues.sender() as sender:
            sender.send(ROUTE, encode("b", "archives/a.tar"))
            with running(queues, handler):
                eventually(lambda: handler.calls, seconds=10)
            assert eventually(lambda: sender.depth(ROUTE), 5) == 1

    def test_a_missing_queue_is_reported_until_it_is_declared(self, queues: SenderQueues) -> None:
        with queues.sender() as sender:
            queues.remove()
            with pytest.raises(TransientError):
                sender.send(ROUTE, encode("b", "archives/a.tar"))
            with pytest.raises(MissingQueueError, match="run dropscribe bootstrap"):
                sender.depth(ROUTE)
            queues.make()
            sender.send(ROUTE, encode("b", "archives/a.tar"))
            assert eventually(lambda: sender.depth(ROUTE), 5) == 1

    def test_an_unreachable_broker_is_reported(self, queues: SenderQueues) -> None:
        with queues.away_sender() as sender:
            with pytest.raises(BrokerLostError):
                sender.send(ROUTE, "{}")
            with pytest.raises(BrokerLostError):
                sender.announce(queues.review_queue, "{}")
            with pytest.raises(BrokerLostError):
                sender.depth(ROUTE)

    def test_announcements_arrive_unchanged_and_reach_no_consumer(
        self, queues: SenderQueues
    ) -> None:
        bodies = ['{"item_id": "1", "path": "caf\\u00e9.wav"}', '{"item_id": "2"}']
        with queues.sender() as sender:
            before = sender.depth(ROUTE)
            for body in bodies:
                sender.announce(queues.review_queue, body)
            assert sorted(eventually(lambda: _both(queues), seconds=10)) == sorted(bodies)
            assert sender.depth(ROUTE) == before

    def test_a_missing_queue_for_announcements_is_reported(self, queues: SenderQueues) -> None:
        with queues.sender() as sender:
            with pytest.raises(MissingQueueError, match="run dropscribe bootstrap"):
                sender.announce(f"{queues.review_queue}-else", "{}")
            sender.announce(queues.review_queue, "{}")
            assert eventually(queues.announced, seconds=10) == ["{}"]


def _both(queues: SenderQueues) -> list[str] | None:
    """Wait for two messages, which may come one by one."""
    first = queues.announced()
    if not first:
        return None
    while len(first) < 2:
        first += queues.announced()
    return first
