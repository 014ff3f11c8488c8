"""Figures and health over HTTP, which no client and no work keeps from answering."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from consumers.errors import ConfigurationError
from ops.observe.metrics.consumer import ConsumerMetrics
from ops.observe.metrics.liveness import LoopHealth, ProcessHealth
from ops.observe.metrics.server import serving
from ops.wiring.settings import Address


class Clock:
    """Tells the time that a test has it tell."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Served:
    """A server, and the pulses that it tells of."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pulses = [LoopHealth("unpack", self.clock), LoopHealth("review", self.clock)]
        self.vitals = ProcessHealth(self.pulses, hung_after=60)
        self.figures = ConsumerMetrics("1.2.3")
        self.address = Address("127.0.0.1", 0)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @contextmanager
    def serving(self) -> Iterator[None]:
        with serving(self.address, self.figures.registry, self.vitals) as self.address:
            yield


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    with served.serving():
        yield served


def test_figures_are_served_in_whichever_form_prometheus_asks_for(served: Served) -> None:
    status, text = served.get("/metrics")
    assert status == 200
    assert 'dropscribe_build_info{version="1.2.3"} 1.0' in text
    _, modern = served.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert modern.endswith("# EOF\n")


def test_readiness_needs_each_loop_to_reach_the_broker(served: Served) -> None:
    assert served.get("/readyz") == (
        503,
        "unpack is not connected to the broker\nreview is not connected to the broker\n",
    )
    for pulse in served.pulses:
        pulse.turn()
        pulse.is_connected = True
    assert served.get("/readyz") == (200, "ok\n")


def test_without_a_broker_it_is_healthy_but_not_ready(served: Served) -> None:
    for pulse in served.pulses:
        pulse.turn()
    assert served.get("/healthz") == (200, "ok\n")
    assert served.get("/readyz")[0] == 503


def test_a_stalled_loop_is_neither_live_nor_ready(served: Served) -> None:
    for pulse in served.pulses:
        pulse.turn()
        pulse.is_connected = True
    served.clock.now += 61
    served.pulses[1].turn()
    hangs = "unpack hangs: its connection's thread has not turned for 61 s\n"
    assert served.get("/healthz") == (503, hangs)
    assert served.get("/readyz") == (503, hangs)
    served.pulses[0].turn()
    assert served.get("/healthz") == (200, "ok\n")


def test_a_model_that_takes_long_to_load_is_no_hang(served: Served) -> None:
    served.clock.now += 3600
    assert served.get("/healthz") == (200, "ok\n")
    assert served.get("/readyz")[0] == 503


def test_a_loop_that_died_is_not_healthy(served: Served) -> None:
    served.pulses[0].has_died = True
    assert served.get("/healthz") == (503, "unpack has died\n")


def test_one_that_stops_is_healthy_and_not_ready(served: Served) -> None:
    for pulse in served.pulses:
        pulse.is_connected = True
    served.vitals.is_stopping = True
    assert served.get("/healthz")[0] == 200
    assert served.get("/readyz") == (503, "the consumer is stopping\n")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_but_get_is_answered(served: Served, path: str, method: str) -> None:
    assert served.get(path, method)[0] == 405


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/healthz%00"])
def test_other_paths_are_not_found(served: Served, path: str) -> None:
    assert served.get(path)[0] == 404


def test_clients_that_say_nothing_keep_nobody_waiting(served: Served) -> None:
    idle = [socket.create_connection((served.address.host, served.address.port)) for _ in range(20)]
    try:
        assert served.get("/healthz")[0] == 200
    finally:
        for each in idle:
            each.close()


def test_a_port_that_is_taken_is_named(served: Served) -> None:
    again = Served()
    again.address = served.address
    with (
        pytest.raises(ConfigurationError, match=f"METRICS_ADDRESS='{served.address}'.*in use"),
        again.serving(),
    ):
        pass


def test_the_server_can_listen_on_ipv6() -> None:
    served = Served()
    served.address = Address("::1", 0)
    with served.serving():
        assert str(served.address).startswith("[::1]:")
        assert served.get("/healthz")[0] == 200
