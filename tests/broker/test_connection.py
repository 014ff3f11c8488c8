"""The connection to RabbitMQ: kept through long work, and restored when it is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from consumers.broker.amqp_inbox import AmqpSettings
from events.event import ObjectCreated
from tests.broker.queues import RabbitQueues
from tests.contracts.loop import Recorder, running, settled
from tests.harness.faults.relay import Relay
from tests.harness.polling import eventually
from tests.harness.servers.rabbitmq import RabbitNode, rabbitmq

#: Milliseconds.
CONSUMER_TIMEOUT = 4000


@pytest.fixture(scope="module")
def strict() -> Iterator[RabbitNode]:
    """A node that closes a channel whose delivery is 4 s old; it checks twice a second."""
    with rabbitmq(
        {"consumer_timeout": CONSUMER_TIMEOUT, "heartbeat": 2}, {"channel_tick_interval": 500}
    ) as running:
        yield running


RENEWING = AmqpSettings(heartbeat=2, renew_after=2)


def sleeper(seconds: float, group: int = 1) -> Recorder:
    def work(_: ObjectCreated) -> None:
        time.sleep(seconds)

    return Recorder(work, group)


def test_work_that_outlasts_heartbeats_keeps_its_connection(queues: RabbitQueues) -> None:
    handler = sleeper(9)
    queues.send("archives/a.tar")
    with running(queues, handler):
        settled(queues)
    assert len(queues.inboxes) == 1
    assert handler.keys == ["archives/a.tar"]


def test_work_without_a_renewed_hold_loses_its_channel(strict: RabbitNode) -> None:
    """The premise of the next tests."""
    with RabbitQueues(strict.vhost()) as queues:
        queues.send("archives/a.tar")
        with running(queues, sleeper(7)):
            eventually(lambda: len(queues.inboxes) > 1, seconds=15)


@pytest.mark.parametrize("group", [1, 3])
def test_work_that_outlasts_the_consumer_timeout_is_done_once(
    strict: RabbitNode, group: int
) -> None:
    with RabbitQueues(strict.vhost(), settings=RENEWING) as queues:
        busy, idle = sleeper(12 / group, group), sleeper(0)
        for number in range(group):
            queues.send(f"archives/{number}.tar")
        with running(queues, busy):
            eventually(lambda: busy.calls, seconds=10)
            with running(queues, idle):
                queues.send("archives/another.tar")
                eventually(lambda: idle.calls, seconds=10)
                settled(queues)
        assert sorted(busy.keys) == [f"archives/{number}.tar" for number in range(group)]
        assert idle.keys == ["archives/another.tar"]
        assert len(queues.inboxes) == 2
        assert queues.dead() == []


def test_nothing_waits_behind_long_work(strict: RabbitNode) -> None:
    with RabbitQueues(strict.vhost(), settings=RENEWING) as queues:
        busy = sleeper(8)
        queues.send("archives/a.tar")
        with running(queues, busy):
            eventually(lambda: busy.calls, seconds=10)
            time.sleep(4)
            queues.send("archives/b.tar")
            time.sleep(1)
            assert queues.waiting() == 1
            # Once it is done, the consumer takes more.
            settled(queues)
        assert busy.keys == ["archives/a.tar", "archives/b.tar"]


def test_long_work_of_a_dead_consumer_is_redelivered(strict: RabbitNode) -> None:
    with RabbitQueues(strict.vhost(), settings=RENEWING) as queues, Relay(strict.port) as relay:
        gone, other = sleeper(25), sleeper(0)
        queues.send("archives/a.tar")
        with running(queues.through(relay.port), gone):
            eventually(lambda: queues.inboxes and queues.inboxes[0]._holds.copies, seconds=10)
            relay.cut()
            with running(queues, other):
                eventually(lambda: other.calls, seconds=30)
                relay.mend()
                settled(queues)
        assert other.keys == ["archives/a.tar"]
        assert queues.dead() == []


def test_a_stopped_consumer_returns_long_work_at_once(strict: RabbitNode) -> None:
    with RabbitQueues(strict.vhost(), settings=RENEWING) as queues:
        queues.send("archives/a.tar")
        with running(queues, sleeper(8), drain_seconds=0.2) as (stop, thread):
            eventually(lambda: queues.inboxes and queues.inboxes[0]._holds.copies, seconds=10)
            stop.asked.set()
            thread.join(5)
            assert not thread.is_alive()
            assert queues.waiting() == 1


@pytest.mark.parametrize("seconds", [3, 10])
def test_a_network_that_is_cut_mid_work_costs_nothing(queues: RabbitQueues, seconds: float) -> None:
    assert queues.address.endpoint is not None
    with Relay(int(queues.address.endpoint.rsplit(":", 1)[1])) as relay:
        handler = sleeper(1)
        for number in range(5):
            queues.send(f"archives/{number}.tar")
        with running(queues.through(relay.port), handler):
            eventually(lambda: handler.calls, seconds=10)
            relay.cut()
            time.sleep(seconds)
            relay.mend()
            settled(queues)
    assert set(handler.keys) == {f"archives/{number}.tar" for number in range(5)}
    assert queues.dead() == []


def test_a_connection_that_is_reset_mid_work_costs_nothing(queues: RabbitQueues) -> None:
    assert queues.address.endpoint is not None
    with Relay(int(queues.address.endpoint.rsplit(":", 1)[1])) as relay:
        handler = sleeper(2)
        queues.send("archives/a.tar")
        queues.send("archives/b.tar")
        with running(queues.through(relay.port), handler):
            eventually(lambda: handler.calls, seconds=10)
            relay.reset()
            eventually(lambda: len(handler.calls) > 1, seconds=15)
            settled(queues)
    assert set(handler.keys) == {"archives/a.tar", "archives/b.tar"}
    assert queues.dead() == []


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_broker_that_is_restarted_mid_work_costs_nothing(end: str) -> None:
    with rabbitmq() as node, RabbitQueues(node.vhost()) as queues:
        handler, keys = sleeper(2), {f"archives/{number}.tar" for number in range(3)}
        for key in sorted(keys):
            queues.send(key)
        with running(queues, handler) as (_, thread):
            eventually(lambda: handler.calls, seconds=10)
            getattr(node, end)()
            time.sleep(3)
            node.start()
            assert thread.is_alive()
            queues.reconnect()
            # A queue that is being recovered counts no messages, so an empty one says nothing.
            eventually(lambda: set(handler.keys) == keys, seconds=30)
            settled(queues)
        assert queues.dead() == []


def test_work_of_a_lost_connection_blocks_nothing(
    queues: RabbitQueues,
) -> None:
    assert queues.address.endpoint is not None
    with Relay(int(queues.address.endpoint.rsplit(":", 1)[1])) as relay:
        busy, idle = sleeper(12), sleeper(0)
        queues.send("archives/a.tar")
        with running(queues.through(relay.port), busy):
            eventually(lambda: busy.calls, seconds=10)
            with running(queues, idle):
                relay.reset()
                eventually(lambda: idle.calls, seconds=10)
                # Enough for the other to connect again.
                time.sleep(3)
                for number in range(4):
                    queues.send(f"archives/{number}.tar")
                eventually(lambda: len(idle.keys) == 5, seconds=4, slack=1)
        assert busy.keys == ["archives/a.tar"]
