"""What `dropscribe health` sees of a real RabbitMQ."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pytest

from consumers.broker.topology import declare_topology
from consumers.runtime.retry_policy import BUSY_DELAY
from events.routes import exchange_name, rule_id
from ops.observe.health.check import Check
from ops.observe.health.checks import CHECKS
from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult, Level
from ops.wiring.environment import Environment
from ops.wiring.settings import HealthSettings
from tests.broker.queues import PREFIX, RabbitQueues
from tests.contracts.loop import ROUTE
from tests.harness.servers.rabbitmq import RabbitNode


def check_named(name: str) -> Check:
    return next(check for check in CHECKS if check.name == name)


def command(node: RabbitNode) -> str:
    """Say how rabbitmqctl is run for a node that is not the host's own."""
    process = node._process
    variables = [f"{name}={value}" for name, value in process.environment.items()]
    user = ["runuser", "-u", process.user, "--"] if process.user else []
    return shlex.join([*user, "env", "-i", *variables, "/usr/lib/rabbitmq/bin/rabbitmqctl"])


class Deployment:
    """A deployment's settings."""

    def __init__(self, queues: RabbitQueues, node: RabbitNode) -> None:
        self.queues = queues
        self.variables = {
            "BROKER_URL": queues._url,
            "BROKER_PREFIX": PREFIX,
            "RETRY_DELAYS": "1,10",
            "HEALTH_TIMEOUT": "60s",
            "HEALTH_RABBITMQCTL": command(node),
        }

    def look(self, name: str, **others: str) -> CheckResult:
        environment = Environment({**self.variables, **others})
        return check_named(name).run(CheckContext(environment, HealthSettings.read(environment)))


@pytest.fixture
def deployment(queues: RabbitQueues, node: RabbitNode) -> Deployment:
    deployment = Deployment(queues, node)
    # All that the settings say, with the delay of what somebody has in hand.
    environment = Environment(deployment.variables)
    site = CheckContext(environment, HealthSettings.read(environment))
    assert BUSY_DELAY in site.topology.delays
    list(declare_topology(site.broker, site.topology))
    return deployment


def test_a_broker_that_has_everything(deployment: Deployment) -> None:
    finding = deployment.look("broker")
    assert finding.level is Level.OK, finding
    assert "bindings not checked" not in finding.what
    # Four of each route but the optional one, whose queues nobody asks for, and the review queue.
    assert finding.figures == {"queues": 13, "missing": 0}


def test_a_binding_that_is_missing(deployment: Deployment) -> None:
    queues = deployment.queues
    with queues._connection.channel() as channel:
        channel.queue_unbind(queues.queue, exchange_name(PREFIX), rule_id(PREFIX, ROUTE))
    finding = deployment.look("broker")
    assert finding.level is Level.CRITICAL
    assert finding.what == (
        f"queue {queues.queue} is not bound to exchange {PREFIX}: its events are lost"
    )
    assert finding.what_to_do == "dropscribe bootstrap, then dropscribe sweep"
    queues.make()
    assert deployment.look("broker").level is Level.OK


def test_without_rabbitmqctl_the_bindings_are_said_not_to_be_known(
    deployment: Deployment,
) -> None:
    for argv in ("/does/not/exist", "false"):
        finding = deployment.look("broker", HEALTH_RABBITMQCTL=argv)
        assert finding.level is Level.OK
        assert "bindings not checked" in finding.what
        finding = deployment.look("consumer-timeout", HEALTH_RABBITMQCTL=argv)
        assert finding.level is Level.OK
        assert "RabbitMQ's own is unknown" in finding.what


def test_queues_and_exchange_that_are_missing(deployment: Deployment) -> None:
    queues = deployment.queues
    with queues._connection.channel() as channel:
        channel.queue_delete(f"{queues.queue}-delay-10s")
    finding = deployment.look("broker")
    assert finding.level is Level.CRITICAL
    assert finding.what == f"missing: queue {queues.queue}-delay-10s"
    with queues._connection.channel() as channel:
        channel.exchange_delete(exchange_name(PREFIX))
    assert f"missing: exchange {PREFIX}" in deployment.look("broker").what


@contextmanager
def consuming(queues: RabbitQueues) -> Iterator[None]:
    """Take the route's deliveries, and settle none."""
    inbox = queues.open_inbox(prefetch=2)
    try:
        inbox.drain(0.5)
        yield
    finally:
        inbox.cancel()
        inbox.close()


def test_consumers_are_counted(deployment: Deployment) -> None:
    queues = deployment.queues
    finding = deployment.look("queues")
    assert finding.level is Level.WARNING
    assert finding.figures["consumers"] == {"unpack": 0, "transcribe": 0, "review": 0}
    assert f"{ROUTE.name}: no consumer, 0 waiting" in finding.what
    assert f"systemctl start dropscribe@{ROUTE.name}" in finding.what_to_do
    with consuming(queues):
        finding = deployment.look("queues")
    assert finding.figures["consumers"] == {"unpack": 1, "transcribe": 0, "review": 0}
    assert f"{ROUTE.name}: no consumer" not in finding.what


def test_a_queue_without_consumers_is_critical(deployment: Deployment) -> None:
    queues = deployment.queues
    for number in range(5):
        queues.send(f"archives/{number}.tar")
    finding = deployment.look("queues")
    assert finding.level is Level.CRITICAL
    assert finding.figures["messages"][ROUTE.name] == 5
    assert f"{ROUTE.name}: no consumer, 5 waiting" in finding.what


def test_looking_takes_nothing_and_counts_as_no_delivery(deployment: Deployment) -> None:
    queues = deployment.queues
    queues.send("archives/a.tar")
    queues.put_dead("letter")
    findings = [deployment.look("queues") for _ in range(3)]
    assert findings[0] == findings[-1]
    finding = findings[-1]
    assert finding.figures["messages"][ROUTE.name] == 1
    assert finding.figures["dead"][ROUTE.name] == 1
    assert f"{ROUTE.name}: 1 dead letters" in finding.what
    assert f"dropscribe dead list --route {ROUTE.name}" in finding.what_to_do
    with queues._connection.channel() as channel:
        message = channel.basic_get(queues.queue)
        assert message.headers.get("x-delivery-count", 0) == 0


def test_consumer_timeout_is_asked_for(deployment: Deployment) -> None:
    finding = deployment.look("consumer-timeout")
    assert finding.level is Level.OK
    assert finding.figures == {"expected_seconds": 1800, "actual_seconds": 1800}
    assert finding.what == "BROKER_CONSUMER_TIMEOUT is 1800 s, RabbitMQ's own 1800 s"
    finding = deployment.look("consumer-timeout", BROKER_CONSUMER_TIMEOUT="7200")
    assert finding.level is Level.CRITICAL
    assert "it takes deliveries back while they are in work" in finding.what
    assert "rabbitmqctl eval 'application:set_env(rabbit, consumer_timeout, 7200000).'" in (
        finding.what_to_do
    )


def test_the_advice_on_consumer_timeout_helps(deployment: Deployment, node: RabbitNode) -> None:
    advice = deployment.look("consumer-timeout", BROKER_CONSUMER_TIMEOUT="7200").what_to_do
    expression = advice.partition("eval '")[2].partition("'")[0]
    before = node.ctl("eval", "application:get_env(rabbit, consumer_timeout).")
    node.ctl("eval", expression)
    try:
        finding = deployment.look("consumer-timeout", BROKER_CONSUMER_TIMEOUT="7200")
        assert (finding.level, finding.figures["actual_seconds"]) == (Level.OK, 7200)
    finally:
        node.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000).")
    assert before == "{ok,1800000}"


def test_a_user_who_may_do_nothing_can_look(deployment: Deployment, node: RabbitNode) -> None:
    node.ctl("add_user", "watcher", "secret")
    try:
        host = deployment.queues.address.virtual_host
        node.ctl("set_permissions", "--vhost", host, "watcher", "^$", "^$", "^$")
        url = f"amqp://watcher:secret@127.0.0.1:{node.port}/{host}"
        assert deployment.look("broker", BROKER_URL=url).level is Level.OK
        assert deployment.look("queues", BROKER_URL=url).figures["messages"]["unpack"] == 0
    finally:
        node.ctl("delete_user", "watcher")


def test_a_broker_that_refuses(deployment: Deployment, node: RabbitNode) -> None:
    url = f"amqp://guest:hush@127.0.0.1:{node.port}/"
    finding = deployment.look("broker", BROKER_URL=url)
    assert finding.level is Level.CRITICAL
    assert "hush" not in json.dumps(asdict(finding))
    assert finding.what_to_do == "on the broker's host: systemctl status rabbitmq-server"


def test_the_command_can_be_run_as_root_alone(node: RabbitNode) -> None:
    argv: list[Any] = [*shlex.split(command(node)), "--quiet", "eval", "1 + 1."]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == "2"
