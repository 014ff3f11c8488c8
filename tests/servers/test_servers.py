"""The servers do what real ones do, and leave nothing behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from kombu import Connection, Exchange, Queue

from consumers.errors import ConfigurationError
from ops.servers.ceph import CephGateway, ceph
from ops.servers.grounds import ServerError
from ops.servers.rabbitmq import RabbitNode, rabbitmq

#: A name that each way of encoding a key turns into another one.
KEY = "archives/field notes+take%2B1.tar"


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitNode]:
    with rabbitmq() as node:
        yield node


@pytest.fixture(scope="module")
def gateway() -> Iterator[CephGateway]:
    with ceph() as gateway:
        yield gateway


@pytest.fixture
def vhost(node: RabbitNode) -> str:
    return node.vhost()


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
    """Take what comes, and never acknowledge it."""
    for _ in range(20):
        connection.drain_events(timeout=10)


def is_empty(url: str, queue: str = "work") -> bool:
    with Connection(url) as connection, connection.SimpleQueue(queue) as opened:
        return bool(opened.qsize() == 0)


def processes(folder: Path) -> list[psutil.Process]:
    """Find what was started for a folder: it has it as its home, or as an argument."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and (
                process.environ().get("HOME") == str(folder) or str(folder) in process.cmdline()
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def eventually_gone(folder: Path) -> bool:
    for _ in range(200):
        if not processes(folder) and not folder.exists():
            return True
        time.sleep(0.05)
    return False


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
        put(node.url, "hello", queue="in-default")

        assert "in-default" in node.ctl("list_queues", "--vhost", "/", "name")
        assert get(node.url, queue="in-default") == "hello"

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

    def test_ctl_reports_what_failed(self, node: RabbitNode) -> None:
        with pytest.raises(ServerError, match="Virtual host 'nowhere' does not exist"):
            node.ctl("delete_vhost", "nowhere")

    def test_a_message_outlives_a_restart(self, node: RabbitNode, vhost: str) -> None:
        put(vhost, "durable")

        node.restart()

        assert get(vhost) == "durable"

    def test_a_message_outlives_a_kill(self, node: RabbitNode, vhost: str) -> None:
        put(vhost, "durable")

        node.kill()
        assert not answers(node.port)
        node.start()

        assert get(vhost) == "durable"

    def test_lives_on_when_the_thread_that_restarted_it_has_ended(
        self, node: RabbitNode, vhost: str
    ) -> None:
        put(vhost, "durable")

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

    def test_two_run_side_by_side_and_leave_nothing(self) -> None:
        with rabbitmq() as one, rabbitmq() as other:
            put(one.url, "for one")
            put(other.url, "for the other")

            assert get(one.url) == "for one"
            assert get(other.url) == "for the other"

            one.kill()
            put(other.url, "is not concerned")

            assert get(other.url) == "is not concerned"
            assert processes(one.folder)
            assert processes(other.folder)

        for node in (one, other):
            assert not processes(node.folder)
            assert not node.folder.exists()
            assert not answers(node.port)


class TestCeph:
    @pytest.mark.parametrize("persistent", [False, True])
    def test_a_put_is_announced_over_amqp(
        self, gateway: CephGateway, vhost: str, persistent: bool
    ) -> None:
        name = f"bucket-{persistent}".lower()
        with Connection(vhost) as connection:
            exchange = Exchange("events", type="topic", durable=True)
            queue = Queue("told", exchange, routing_key=name, channel=connection.default_channel)
            queue.declare()
            announce(gateway, vhost, name, persistent)

            client(gateway, "s3").put_object(Bucket=name, Key=KEY, Body=b"sound")

            with connection.SimpleQueue(queue) as told:
                # The gateway looks for new persistent topics twice a minute.
                body = json.loads(told.get(timeout=60).body)

        (record,) = body["Records"]
        assert record["eventSource"] == "ceph:s3"
        assert record["eventName"] == "ObjectCreated:Put"
        assert record["s3"]["bucket"]["name"] == name
        assert record["s3"]["object"]["key"] == KEY
        assert record["s3"]["object"]["size"] == len(b"sound")

    def test_what_was_stored_outlives_a_kill_of_the_gateway(self, gateway: CephGateway) -> None:
        s3 = client(gateway, "s3")
        s3.create_bucket(Bucket="outlives")
        s3.put_object(Bucket="outlives", Key=KEY, Body=b"sound")

        gateway.kill()
        gateway.start()

        assert s3.get_object(Bucket="outlives", Key=KEY)["Body"].read() == b"sound"

    def test_two_run_side_by_side_and_leave_nothing(self) -> None:
        with ceph() as one, ceph() as other:
            client(one, "s3").create_bucket(Bucket="of-one")

            assert not client(other, "s3").list_buckets()["Buckets"]

        for gateway in (one, other):
            assert not processes(gateway.folder)
            assert not gateway.folder.exists()


def client(gateway: CephGateway, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=gateway.endpoint,
        aws_access_key_id=gateway.access_key,
        aws_secret_access_key=gateway.secret_key,
        region_name="default",
        config=Config(retries={"max_attempts": 0}),
    )


def announce(gateway: CephGateway, vhost: str, name: str, persistent: bool) -> None:
    """Make a bucket, and a topic of the same name to which it tells what is created."""
    arn = client(gateway, "sns").create_topic(
        Name=name,
        Attributes={
            "push-endpoint": vhost.replace("guest:guest@", ""),
            "amqp-exchange": "events",
            "amqp-ack-level": "broker",
            "persistent": str(persistent).lower(),
        },
    )["TopicArn"]
    s3 = client(gateway, "s3")
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
    @pytest.mark.parametrize("server", ["rabbitmq", "ceph"])
    def test_a_kill_of_the_test_process_takes_all_along(self, server: str) -> None:
        program = f"""
from tests.servers.{server} import {server}
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
