"""The queues that bootstrap declares, and consumers without them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import amqp
import pytest

from consumers.broker.amqp_inbox import open_amqp_inbox
from consumers.broker.errors import BrokerLostError
from consumers.broker.topology import count_messages, declare_topology
from consumers.errors import ConfigurationError, TransientError
from consumers.runtime.retry_policy import BUSY_DELAY, RETRY_DELAYS
from events.event import ObjectCreated
from events.routes import ROUTES, delay_queue_name
from tests.broker.queues import PREFIX, TOPOLOGY, RabbitQueues
from tests.contracts.loop import ROUTE, Recorder, notification, running, settled
from tests.harness.polling import eventually
from tests.harness.servers.rabbitmq import RabbitNode


def test_the_topology_is_declared_once_and_then_found(node: RabbitNode) -> None:
    address = RabbitQueues(node.vhost()).address
    foreseen = list(declare_topology(address, TOPOLOGY, dry_run=True))
    assert len(foreseen) == 1 + len(ROUTES) * (2 + len(TOPOLOGY.delays)) + 1
    assert all(missing for _, missing in foreseen)
    assert list(declare_topology(address, TOPOLOGY)) == foreseen
    assert not any(missing for _, missing in declare_topology(address, TOPOLOGY))
    inbox = open_amqp_inbox(address, ROUTE, prefetch=1, topology=TOPOLOGY)
    inbox.close()


def test_only_the_queues_of_the_given_routes_are_declared(node: RabbitNode) -> None:
    address = RabbitQueues(node.vhost()).address
    made = [what for what, _ in declare_topology(address, TOPOLOGY, routes=ROUTES[:1])]
    assert made[:3] == [
        f"exchange {PREFIX}",
        f"queue {PREFIX}-unpack-dead",
        f"queue {PREFIX}-unpack",
    ]
    assert made[-1] == f"queue {PREFIX}-ra"
    assert not any("moderate" in what for what in made)
    names = [f"{PREFIX}-moderate", f"{PREFIX}-unpack", f"{PREFIX}-review"]
    assert count_messages(address, names) == {f"{PREFIX}-unpack": 0}


def test_the_review_queue_cannot_fill_up(queues: RabbitQueues) -> None:
    """Its messages expire, and are not dropped after redeliveries."""
    spec = queues.topology.review_queue()
    assert spec.arguments["x-message-ttl"] == 14 * 86_400_000
    with queues._connection.channel() as channel:
        channel.basic_publish(amqp.Message("item"), "", spec.name, mandatory=True)
        # More often than RabbitMQ 4 allows unless it is told otherwise.
        for _ in range(30):
            message = eventually(lambda: channel.basic_get(spec.name), seconds=10)
            channel.basic_reject(message.delivery_tag, requeue=True)
        assert eventually(lambda: channel.basic_get(spec.name), seconds=10).body == "item"


def test_each_verdict_has_a_queue_of_its_delay() -> None:
    for seconds in (*RETRY_DELAYS, BUSY_DELAY):
        assert TOPOLOGY.delay_queue(ROUTE, seconds) == delay_queue_name(PREFIX, ROUTE, seconds)
    assert TOPOLOGY.delay_queue(ROUTE, 11) == delay_queue_name(PREFIX, ROUTE, 60)
    assert TOPOLOGY.delay_queue(ROUTE, 9999) == delay_queue_name(PREFIX, ROUTE, 600)


def test_a_queue_with_other_arguments_is_reported(queues: RabbitQueues) -> None:
    other = replace(queues.topology, delivery_limit=queues.topology.delivery_limit + 1)
    with pytest.raises(ConfigurationError, match=f"queue {queues.queue} already exists with"):
        list(declare_topology(queues.address, other))
    with pytest.raises(ConfigurationError, match="already exists with other arguments"):
        list(declare_topology(queues.address, other, dry_run=True))


def test_a_wrong_password_is_not_shown(queues: RabbitQueues) -> None:
    address = replace(queues.address, secret_key="hush")
    with pytest.raises(BrokerLostError) as caught:
        list(declare_topology(address, TOPOLOGY))
    assert "hush" not in str(caught.value)


def test_a_consumer_without_queues_names_the_remedy(node: RabbitNode) -> None:
    address = RabbitQueues(node.vhost()).address
    with pytest.raises(TransientError, match=r"-dead does not exist: run dropscribe bootstrap"):
        open_amqp_inbox(address, ROUTE, prefetch=1, topology=TOPOLOGY)


def test_a_retry_without_a_delay_queue_is_not_acked(queues: RabbitQueues) -> None:
    # Until then the handler's thread has the connection that this one uses after it.
    is_gone = threading.Event()

    def fail_once(_: ObjectCreated) -> Exception | None:
        if len(handler.calls) > 1:
            return None
        with queues._connection.channel() as channel:
            channel.queue_delete(delay_queue_name(PREFIX, ROUTE, 1))
        is_gone.set()
        return TransientError("away")

    handler = Recorder(fail_once)
    queues.send("archives/a.tar")
    with running(queues, handler):
        assert is_gone.wait(10)
        eventually(queues.waiting, seconds=10)
        queues.make()
        settled(queues)
    assert handler.keys == ["archives/a.tar"] * 2
    assert queues.dead() == []


def test_a_short_delay_does_not_wait_behind_a_long_one(queues: RabbitQueues) -> None:
    delays = {"archives/long.tar": 10.0, "archives/short.tar": 1.0}
    for key, seconds in delays.items():
        with queues._connection.channel() as channel:
            channel.basic_publish(
                amqp.Message(notification([key])),
                "",
                queues.topology.delay_queue(ROUTE, seconds),
                mandatory=True,
            )
    handler = Recorder(lambda _: None)
    begun = time.monotonic()
    with running(queues, handler):
        eventually(lambda: handler.calls, seconds=20)
        assert time.monotonic() - begun < 5
        settled(queues)
    assert handler.keys == ["archives/short.tar", "archives/long.tar"]
