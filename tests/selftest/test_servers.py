"""The harness' servers behave like real ones, and leave nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from consumers.errors import ConfigurationError
from tests.harness.servers.ceph import CephGateway, ceph
from tests.harness.servers.grounds import ServerError
from tests.harness.servers.rabbitmq import RabbitNode, rabbitmq
from tests.harness.servers.store import boto_client
from tests.selftest.processes import answers, eventually_gone, processes

#: A name that each way of encoding a key turns into another one.
KEY = "archives/field notes+take%2B1.tar"


@dataclass(frozen=True)
class Told:
    """A bucket whose events go to a queue, by way of a topic that keeps them."""

    name: str
    vhost: str


@pytest.fixture(scope="module", autouse=True)
def told(node: RabbitNode, gateway: CephGateway) -> Told:
    """Made first of all: only half a minute later will the gateway look at the new topic."""
    told = Told("bucket-that-persists", node.vhost())
    with Connection(told.vhost) as connection:
        announced_in(connection, told.name).declare()
    announce(gateway, told.vhost, told.name, persistent=True)
    return told


def put(url: str, text: str, queue: str = "work") -> None:
    """Publish to a durable queue, until the broker has it on disk."""
    with (
        Connection(url, transport_options={"confirm_publish": True}) as connection,
        connection.SimpleQueue(queue) as opened,
    ):
        opened.put(text)


def get(url: str, queue: str = "work", seconds: float = 10.0) -> Any:
    with Connection(url) as connection, connection.SimpleQueue(queue) as opened:
        message = opened.get(timeout=seconds)
        message.ack()
        return message.payload


def drain(connection: Connection) -> None:
    """Take messages, and never acknowledge them."""
    for _ in range(20):
        connection.drain_events(timeout=10)


def is_empty(url: str, queue: str = "work") -> bool:
    with Connection(url) as connection, connection.SimpleQueue(queue) as opened:
        return bool(opened.qsize() == 0)


class TestRabbitMQ:
    def test_takes_and_gives_messages(self, vhost: str) -> None:
        put(vhost, "an archive was dropped")

        assert get(vhost) == "an archive was dropped"

    def test_virtual_hosts_share_nothing(self, node: RabbitNode) -> None:
        one, other = node.vhost(), node.vhost()

        put(one, "for one")

        assert is_empty(other)
        assert get(one) == "for one"

    def test_the_url_is_of_the_default_virtual_host(self, node: RabbitNode) -> None:
        name = "in-default, with a name that is not cut in a list"
        put(node.url, "hello", queue=name)

        assert name in node.ctl("list_queues", "--vhost", "/", "name")
        assert name in node.queues("/")
        assert get(node.url, queue=name) == "hello"

    def test_has_quorum_queues_with_a_delivery_limit(self, vhost: str) -> None:
        with Connection(vhost) as connection:
            queue = Queue(
                "poison",
                channel=connection.default_channel,
                queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 1},
            )
            queue.declare()
            connection.Producer().publish("kills its reader", routing_key="poison")
            for _ in range(2):
                message = self._wait_for_message(queue)
                message.requeue()
            time.sleep(0.2)

            assert queue.get() is None

    def _wait_for_message(self, queue: Queue) -> Any:
        for _ in range(100):
            if (message := queue.get()) is not None:
                return message
            time.sleep(0.05)
        raise AssertionError("no message came")

    def test_ctl_reports_failures(self, node: RabbitNode) -> None:
        with pytest.raises(ServerError, match="Virtual host 'nowhere' does not exist"):
            node.ctl("delete_vhost", "nowhere")

    def test_a_message_outlives_a_kill(self, node: RabbitNode, vhost: str) -> None:
        put(vhost, "durable")

        node.kill()
        assert not answers(node.port)
        node.start()

        assert get(vhost) == "durable"

    def test_a_message_outlives_a_restart_and_the_thread_that_did_it(
        self, node: RabbitNode, vhost: str
    ) -> None:
        put(vhost, "durable")

        # The kernel ends a server with the thread that started it.
        thread = threading.Thread(target=node.restart)
        thread.start()
        thread.join()
        time.sleep(0.5)

        assert get(vhost) == "durable"

    def test_options_are_in_force(self) -> None:
        with rabbitmq(
            {"consumer_timeout": 1000, "heartbeat": 7}, {"channel_tick_interval": 200}
        ) as node:
            put(node.url, "takes longer than allowed")
            with Connection(node.url) as connection:
                consumer = connection.SimpleQueue("work").consumer
                consumer.consume()

                with pytest.raises(connection.channel_errors, match=r"acknowledgement .*timed out"):
                    drain(connection)

            assert node.ctl("eval", "application:get_env(rabbit, heartbeat).") == "{ok,7}"

    def test_a_wrong_option_is_shown(self) -> None:
        with pytest.raises(ServerError, match="no_such_option"), rabbitmq({"no_such_option": 1}):
            pass

    def test_two_servers_run_side_by_side_and_leave_nothing(
        self, node: RabbitNode, vhost: str
    ) -> None:
        with rabbitmq() as other:
            put(vhost, "for one")
            put(other.url, "for the other")

            assert get(vhost) == "for one"
            assert get(other.url) == "for the other"

            other.kill()
            put(vhost, "is not concerned")

            assert get(vhost) == "is not concerned"
            assert processes(other.folder)

        assert processes(node.folder)
        assert not processes(other.folder)
        assert not other.folder.exists()
        assert not answers(other.port)


class TestCeph:
    def test_a_put_is_announced_over_amqp(self, gateway: CephGateway, vhost: str) -> None:
        name = "bucket"
        with Connection(vhost) as connection:
            queue = announced_in(connection, name)
            queue.declare()
            announce(gateway, vhost, name, persistent=False)

            client("s3", gateway).put_object(Bucket=name, Key=KEY, Body=b"sound")

            self._check(connection, queue, name)

    def test_a_put_is_announced_over_amqp_by_a_topic_that_keeps_it(
        self, gateway: CephGateway, told: Told
    ) -> None:
        client("s3", gateway).put_object(Bucket=told.name, Key=KEY, Body=b"sound")

        with Connection(told.vhost) as connection:
            self._check(connection, announced_in(connection, told.name), told.name)

    def _check(self, connection: Connection, queue: Queue, name: str) -> None:
        with connection.SimpleQueue(queue) as opened:
            # The gateway looks for new persistent topics twice a minute.
            (record,) = json.loads(opened.get(timeout=60).body)["Records"]

        assert record["eventSource"] == "ceph:s3"
        assert record["eventName"] == "ObjectCreated:Put"
        assert record["s3"]["bucket"]["name"] == name
        assert record["s3"]["object"]["key"] == KEY
        assert record["s3"]["object"]["size"] == len(b"sound")

    def test_objects_outlive_a_kill_of_the_gateway(self, gateway: CephGateway) -> None:
        s3 = client("s3", gateway)
        s3.create_bucket(Bucket="outlives")
        s3.put_object(Bucket="outlives", Key=KEY, Body=b"sound")

        gateway.kill()
        gateway.start()

        assert s3.get_object(Bucket="outlives", Key=KEY)["Body"].read() == b"sound"

    def test_two_servers_run_side_by_side_and_leave_nothing(self, gateway: CephGateway) -> None:
        with ceph() as other:
            client("s3", other).create_bucket(Bucket="of-other")

            buckets = client("s3", gateway).list_buckets()["Buckets"]
            assert "of-other" not in {bucket["Name"] for bucket in buckets}

        assert processes(gateway.folder)
        assert not processes(other.folder)
        assert not other.folder.exists()


client = partial(boto_client, retries={"max_attempts": 0})


def announced_in(connection: Connection, name: str) -> Queue:
    exchange = Exchange("events", type="topic", durable=True)
    return Queue(name, exchange, routing_key=name, channel=connection.default_channel)


def announce(gateway: CephGateway, vhost: str, name: str, *, persistent: bool) -> None:
    """Make a bucket that announces new objects to a topic of the same name."""
    arn = client("sns", gateway).create_topic(
        Name=name,
        Attributes={
            "push-endpoint": vhost.replace("guest:guest@", ""),
            "amqp-exchange": "events",
            "amqp-ack-level": "broker",
            "persistent": str(persistent).lower(),
        },
    )["TopicArn"]
    s3 = client("s3", gateway)
    s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={
            "TopicConfigurations": [
                {"Id": "created", "TopicArn": arn, "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    )


class TestTheEnd:
    @pytest.mark.parametrize("server", ["rabbitmq", "ceph", "postgres"])
    def test_a_kill_of_the_test_process_ends_its_servers(self, server: str) -> None:
        program = f"""
from tests.harness.servers.{server} import {server}
with {server}() as started:
    print(started.folder, flush=True)
    input()
"""
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        ) as tests:
            assert tests.stdout is not None
            folder = Path(tests.stdout.readline().strip())
            assert folder.is_dir()
            assert len(processes(folder)) >= 3

            tests.send_signal(signal.SIGKILL)

        assert eventually_gone(folder)

    @pytest.mark.parametrize(
        ("server", "packages"),
        [
            (rabbitmq, "apt-get install rabbitmq-server"),
            (
                ceph,
                "apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common",
            ),
        ],
    )
    def test_a_missing_program_is_named_with_its_packages(
        self, server: Any, packages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(ConfigurationError, match=f"is not installed: {packages}$"), server():
            pass
