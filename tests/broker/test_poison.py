"""Messages that crash their consumers, and messages that no library can read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.broker.queues import RabbitQueues
from tests.contracts.loop import Recorder, notification, running, settled
from tests.contracts.poison import LIMIT, PoisonContract
from tests.harness.servers.rabbitmq import RabbitNode


class TestPoisonOnRabbitMQ(PoisonContract):
    """The contract."""

    @pytest.fixture
    def queues(self, node: RabbitNode) -> Iterator[RabbitQueues]:
        with RabbitQueues(node.vhost(), delivery_limit=LIMIT) as queues:
            yield queues


UNREADABLE = [
    {"application_headers": {"compression": "application/x-gzip"}},
    {"application_headers": {"compression": 7}},
    {"application_headers": {"dropscribe-attempt": "many", "dropscribe-losses": "some"}},
    {"content_type": "application/x-python-serialize", "content_encoding": "binary"},
    {"content_encoding": "rot13"},
    {"content_encoding": "utf-16"},
    {"content_encoding": "no such encoding"},
]


@pytest.mark.parametrize("properties", UNREADABLE)
def test_the_content_type_of_a_body_does_not_matter(
    queues: RabbitQueues, properties: dict[str, object]
) -> None:
    handler = Recorder(lambda _: None)
    queues.send(body=b"\xff\xfe\x00 no JSON", **properties)
    queues.send(body=notification(["archives/a.tar"]).encode(), **properties)
    with running(queues, handler):
        settled(queues)
    assert len(queues.dead()) + len(handler.keys) == 2
    assert len(queues.dead()) >= 1


def test_a_lone_surrogate_is_dead_lettered_and_others_finish(queues: RabbitQueues) -> None:
    """UTF-7 can encode it, UTF-8 cannot."""
    handler = Recorder(lambda _: None)
    queues.send(body=b"+2AA-", content_encoding="utf-7")
    queues.send("archives/a.tar")
    with running(queues, handler):
        settled(queues)
    assert handler.keys == ["archives/a.tar"]
    assert [letter["body"] for letter in queues.dead()] == ["\ud800"]
