"""Dead letters on RabbitMQ."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import amqp
import pytest

from consumers.broker.errors import MissingQueueError
from consumers.broker.topology import declare_topology
from events.keys import ArchiveKey, AudioId, BatchId
from events.routes import ROUTES, dead_letter_queue_name
from ops.recovery.dead_letters import DeadLetterFilter, find, replay
from tests.broker.queues import PREFIX, RabbitQueues
from tests.contracts.dead_letters import DeadLettersContract, UnstalledRows, send_again
from tests.contracts.loop import ROUTE, Recorder, notification, running, settled
from tests.harness.polling import eventually
from tests.harness.servers.rabbitmq import RabbitNode

ONLY = DeadLetterFilter(routes=(ROUTE,))

UNPACK, TRANSCRIBE, MODERATE, REVIEW = ROUTES
AUDIO = AudioId(BatchId("20250622-143052-a1b2c3"), 1)


class TestDeadLettersOnRabbitMQ(DeadLettersContract):
    """The contract."""


def test_messages_that_rabbitmq_dead_lettered_can_be_shown_and_replayed(node: RabbitNode) -> None:
    with RabbitQueues(node.vhost(), delivery_limit=2) as queues:
        queues.send("archives/a.tar", application_headers={"dropscribe-attempt": 3})
        with queues._connection.channel() as channel:
            while (message := channel.basic_get(queues.queue)) is not None:
                channel.basic_reject(message.delivery_tag, requeue=True)
        eventually(queues.dead_count, seconds=10)
        (letter,) = find(queues.dead_letters(), ONLY)
        assert letter.reason == "lost"
        assert letter.error.startswith("RabbitMQ dead-lettered it, as it was redelivered too often")
        assert letter.attempts == 3
        assert letter.dead_at is not None
        assert abs(datetime.now(UTC) - letter.dead_at) < timedelta(minutes=1)
        assert letter.keys == ("archives/a.tar",)
        assert send_again(queues) == [letter.id]
        handler = Recorder(lambda _: None)
        with running(queues, handler):
            settled(queues)
        assert handler.keys == ["archives/a.tar"]


@pytest.mark.parametrize(
    "properties",
    [
        {"content_encoding": "utf-16"},
        {"content_encoding": "no such encoding", "content_type": "application/x-python-serialize"},
        {"application_headers": {"x-death": "?", "dropscribe-attempt": []}},
        {"application_headers": {"x-death": [7]}},
        {"application_headers": {"x-death": [{"time": "?"}]}},
    ],
)
def test_replay_keeps_the_bytes_of_a_dead_letter(
    queues: RabbitQueues, properties: dict[str, object]
) -> None:
    bodies = [b"\xff\xfe\x00", notification(["archives/a.tar"]).encode()]
    for body in bodies:
        queues.put_dead(body, **properties)
    assert len(list(find(queues.dead_letters(), ONLY))) == 2
    assert len(send_again(queues)) == 2
    with queues._connection.channel() as channel:
        channel.auto_decode = False
        again = [channel.basic_get(queues.queue).body for _ in range(2)]
    assert again == bodies


def test_a_missing_queue_is_reported(queues: RabbitQueues) -> None:
    with queues._connection.channel() as channel:
        channel.queue_delete(f"{queues.queue}-dead")
    with pytest.raises(MissingQueueError, match="run dropscribe bootstrap"):
        list(find(queues.dead_letters(), DeadLetterFilter(routes=ROUTES)))


def test_a_stage_never_set_up_has_no_dead_letters(node: RabbitNode) -> None:
    here = RabbitQueues(node.vhost())
    list(declare_topology(here.address, here.topology, routes=(UNPACK, REVIEW)))
    letters = here.dead_letters()
    assert list(find(letters, DeadLetterFilter(routes=(UNPACK, MODERATE, REVIEW)))) == []
    # What has to be there is missed.
    with pytest.raises(MissingQueueError, match="run dropscribe bootstrap"):
        list(find(letters, DeadLetterFilter()))


def test_dead_letters_of_a_disabled_stage_can_be_replayed(queues: RabbitQueues) -> None:
    body = notification([AUDIO.transcript_key])
    with queues._connection.channel() as channel:
        dead = dead_letter_queue_name(PREFIX, MODERATE)
        channel.basic_publish(amqp.Message(body), "", dead, mandatory=True)
    # All that bootstrap does then is to take the bucket's rule away.
    list(declare_topology(queues.address, queues.topology, routes=(UNPACK, TRANSCRIBE, REVIEW)))
    (letter,) = find(queues.dead_letters(), DeadLetterFilter())
    assert (letter.route, letter.keys) == (MODERATE, (AUDIO.transcript_key,))
    with queues.sender() as sender:
        rows = UnstalledRows()
        (again,) = replay(queues.dead_letters(), sender, rows, DeadLetterFilter())
        assert again.id == letter.id
        assert rows.unstalled == [AUDIO]
        assert eventually(lambda: sender.depth(MODERATE), seconds=10) == 1


def test_a_batch_goes_on_when_its_review_is_replayed(queues: RabbitQueues) -> None:
    batch = AUDIO.batch
    with queues._connection.channel() as channel:
        dead = dead_letter_queue_name(PREFIX, REVIEW)
        message = amqp.Message(notification([batch.complete_key]))
        channel.basic_publish(message, "", dead, mandatory=True)
    rows = UnstalledRows()
    with queues.sender() as sender:
        (letter,) = replay(queues.dead_letters(), sender, rows, DeadLetterFilter(batch=batch))
    assert letter.route == REVIEW
    assert rows.unstalled == [ArchiveKey(batch.archive_key, batch)]


def test_reading_many_keeps_none_in_memory(queues: RabbitQueues) -> None:
    body = "x" * 1_000_000
    for _ in range(40):
        queues.put_dead(body)
    tracemalloc.start()
    try:
        assert sum(1 for _ in find(queues.dead_letters(), ONLY)) == 40
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 15_000_000
