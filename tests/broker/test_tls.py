"""RabbitMQ by TLS."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consumers.broker.address import BrokerAddress
from consumers.broker.errors import BrokerLostError
from consumers.broker.topology import declare_topology
from events.event import ObjectCreated
from tests.broker.queues import TOPOLOGY, RabbitQueues
from tests.contracts.loop import Recorder, notification, running
from tests.harness.certificates import certify
from tests.harness.polling import eventually
from tests.harness.servers.rabbitmq import rabbitmq


@pytest.fixture(scope="module")
def address() -> Iterator[BrokerAddress]:
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        folder = Path(name)
        folder.chmod(0o755)
        certificate, key = certify(folder, "rabbit")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        config = {
            "listeners.ssl.1": f"127.0.0.1:{port}",
            "ssl_options.certfile": str(certificate),
            "ssl_options.keyfile": str(key),
        }
        with rabbitmq(config):
            yield BrokerAddress.parse(
                f"amqps://guest:guest@127.0.0.1:{port}/",
                region="",
                prefix="dropscribe",
                ca_file=str(certificate),
            )


def test_a_connection_by_tls_is_kept_through_idle_time_and_work(address: BrokerAddress) -> None:
    queues = RabbitQueues("amqp://h")
    queues.address = address
    queues.make()
    done = threading.Event()

    def work(_: ObjectCreated) -> None:
        done.wait(6)
        done.set()

    with running(queues, Recorder(work)):
        (inbox,) = eventually(lambda: queues.inboxes, seconds=10)
        time.sleep(6)
        sender = queues.open_inbox(prefetch=1)
        sender.cancel()
        sender._publish(notification(["archives/a.tar"]), queues.queue)
        sender.close()
        assert done.wait(15)
        eventually(lambda: not inbox.in_hand, seconds=10)
        assert inbox._connection.connected
    assert len(queues.inboxes) == 2


def test_a_certificate_that_nobody_vouches_for_is_refused(address: BrokerAddress) -> None:
    with pytest.raises(BrokerLostError, match="certificate verify failed"):
        list(declare_topology(replace(address, ca_file=None), TOPOLOGY))


def test_a_certificate_of_another_host_is_refused(address: BrokerAddress) -> None:
    assert address.endpoint is not None
    elsewhere = address.endpoint.replace("127.0.0.1", "localhost")
    with pytest.raises(BrokerLostError, match="certificate"):
        list(declare_topology(replace(address, endpoint=elsewhere), TOPOLOGY))
