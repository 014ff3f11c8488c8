"""Consumers are observed: their figures, their health, what systemd hears, and what they log."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from consumers.errors import TransientError
from consumers.runtime.observer import Observer
from events.keys import BatchId
from events.routes import ROUTES
from ops.bootstrap import bootstrap
from ops.wiring.adapters import make_store
from ops.wiring.environment import Environment
from tests.harness.faults.relay import Relay
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.harness.samples.scraped import Scraped
from tests.integration.conftest import Pipeline
from tests.integration.moderated import SPOKEN, write_policies
from tests.integration.queues import EmbeddedQueues
from tests.samples import RECORDINGS, archive
from tests.unit.test_systemd import Systemd

ROOT = Path(__file__).parents[2]

#: Seconds after which consumers here count as hung, and within which systemd wants to hear.
HUNG, WATCHDOG = 2, 2

#: What of this process' variables a consumer needs.
PASSED_ON = ("HOME", "LANG", "PATH", "PYTHONPATH", "VIRTUAL_ENV")


class Network(Relay):
    """The way to a broker that can be stopped and started (`Relay.cut` makes it hang)."""

    def stop(self) -> None:
        self._running, self._target = self._target, 9
        self.reset()

    def start(self) -> None:
        self._target = self._running


class Consumer:
    """A process of consumers, seen from outside."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, systemd: Systemd) -> None:
        self.process = process
        self.systemd = systemd
        self.heard: list[str] = []
        self._log = log
        self._address = eventually(lambda: self._line("serving metrics"))["address"]

    def lines(self) -> list[dict[str, Any]]:
        """Read what it has logged."""
        lines = self._log.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def _line(self, event: str) -> dict[str, Any] | None:
        assert self.process.poll() is None, self._log.read_text()
        return next((line for line in self.lines() if line["event"] == event), None)

    def logged(self, event: str) -> dict[str, Any]:
        """Wait for a line."""
        return eventually(lambda: self._line(event))

    def get(self, path: str) -> tuple[int, str]:
        with closing(HTTPConnection(self._address, timeout=10)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def answers(self, path: str, status: int) -> None:
        """Wait until a page has that status."""
        eventually(lambda: self.get(path)[0] == status)

    @property
    def figures(self) -> Scraped:
        status, text = self.get("/metrics")
        assert status == 200
        return Scraped(text)

    def told(self, assignment: str) -> None:
        """Wait until it has told systemd that."""

        def look() -> bool:
            self.heard += self.systemd.heard()
            return assignment in self.heard

        eventually(look)


Start = Callable[..., Consumer]


@pytest.fixture
def variables(variables: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Settings of a deployment that moderates."""
    return {**variables, "POLICIES_ROOT": str(write_policies(tmp_path / "policies"))}


@pytest.fixture
def network(variables: dict[str, str]) -> Iterator[Network]:
    port = urlsplit(variables["S3_ENDPOINT"]).port
    assert port is not None
    with Network(port) as network:
        yield network


@pytest.fixture
def start(
    environment: Environment,
    variables: dict[str, str],
    network: Network,
    tmp_path: Path,
    scratch_root: Path,
) -> Iterator[Start]:
    """Start a module's consumers, which reach the broker by the network."""
    started: list[subprocess.Popen[bytes]] = []
    systemd = Systemd(str(tmp_path / "notify"))
    log = tmp_path / "consumer.log"

    def start(module: str, *arguments: str, **settings: str) -> Consumer:
        given = {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            **variables,
            "BROKER_URL": f"sqs://key:secret@127.0.0.1:{network.port}",
            "SCRATCH_ROOT": str(scratch_root),
            "UNPACK_PROCESSES": "1",
            "REVIEW_SAMPLE": "1",
            "METRICS_ADDRESS": "127.0.0.1:0",
            "NOTIFY_SOCKET": systemd.address,
            "WATCHDOG_USEC": str(WATCHDOG * 1_000_000),
            **settings,
        }
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        started.append(process)
        return Consumer(process, log, systemd)

    with closing(systemd.socket):
        yield start
        for process in started:
            process.kill()
            process.wait()


def test_after_a_batch_the_figures_count_its_work(
    start: Start, pipeline: Pipeline, variables: dict[str, str], tmp_path: Path
) -> None:
    names = [route.name for route in ROUTES]
    consumer = start("tests.harness.deployment.consumer", *names)
    consumer.told("READY=1")
    members = {**SPOKEN, "bad.mp3": bytes(99), "cover.jpg": b"\xff\xd8\xff\xe0" + bytes(99)}
    batch = pipeline.drop(archive(tmp_path, tar_of(members)))
    assert pipeline.wait(batch).state == "complete"
    consumer.logged("batch is ready for review")
    EmbeddedQueues(Environment(variables)).send(body="no notification")
    done: dict[str | None, int] = {"unpack": 1, "transcribe": 5, "moderate": 5, "review": 1}
    eventually(lambda: deliveries_in(consumer) == Counter({**done, None: 1}))
    # When a rule is made, the store sends a message of no object, which is acked.
    eventually(lambda: acked(consumer) == Counter(done) + Counter(names))
    figures = consumer.figures

    def value(name: str, **labels: str) -> float:
        return figures.value(f"dropscribe_{name}", **labels)

    for name in names:
        assert value("deliveries_total", route=name, verdict="retry") == 0
        assert value("store_errors_total", route=name) == 0
        assert value("connected", route=name) == 1
        assert value("in_hand", route=name) == 0
    assert value("deliveries_total", route="unpack", verdict="dead") == 1
    assert value("dead_letters_total", route="unpack", reason="malformed") == 1
    states = {
        ("unpack", "converted"): 5,
        ("unpack", "rejected"): 1,
        ("transcribe", "transcribed"): 4,
        ("transcribe", "silent"): 1,
        ("moderate", "moderated"): 4,
    }
    for (name, state), number in states.items():
        assert value("recordings_total", route=name, state=state) == number
    seconds = [each.duration or 0.0 for each in pipeline.database.recordings(batch)]
    for name in ("unpack", "transcribe"):
        assert value("audio_seconds_total", route=name) == pytest.approx(sum(seconds), abs=0.01)
    assert value("batch_completion_seconds_count") == 1
    assert 0 < value("batch_completion_seconds_sum") < 60
    stages = {
        # The one that is rejected is probed.
        ("unpack", "transcode"): 6,
        ("unpack", "store"): 5,
        # Fetched, and then decoded.
        ("transcribe", "read"): 8,
        ("transcribe", "store"): 5,
        ("moderate", "read"): 5,
        ("moderate", "store"): 4,
    }
    for (name, stage), number in stages.items():
        assert value("stage_seconds_count", route=name, stage=stage) == number
    for name, stage in (("transcribe", "hear"), ("moderate", "judge"), ("review", "clip")):
        assert value("stage_seconds_count", route=name, stage=stage) >= 1
    check_log(consumer, batch, names)


def deliveries_in(consumer: Consumer) -> Counter[str | None]:
    """Count the lines about deliveries by route; those of no batch under None."""
    return Counter(
        line["route"] if line["batch"] else None
        for line in consumer.lines()
        if line["event"] == "delivery"
    )


def acked(consumer: Consumer) -> Counter[str | None]:
    """Count the acked deliveries by route, once nothing is in hand."""
    figures = consumer.figures
    names = [route.name for route in ROUTES]
    if any(figures.value("dropscribe_in_hand", route=name) for name in names):
        return Counter()
    name, verdict = "dropscribe_deliveries_total", "ack"
    return Counter({each: int(figures.value(name, route=each, verdict=verdict)) for each in names})


def in_hand(consumer: Consumer, route: str) -> float:
    return consumer.figures.value("dropscribe_in_hand", route=route)


def check_log(consumer: Consumer, batch: BatchId, routes: Sequence[str]) -> None:
    """A batch can be followed through all hosts by its id: one line per delivery has all."""
    lines = consumer.lines()
    about = [line for line in lines if str(batch) in json.dumps(line)]
    assert [line for line in about if line.get("batch") != str(batch)] == []
    deliveries = [line for line in about if line["event"] == "delivery"]
    assert len({line["key"] for line in deliveries}) == len(deliveries)
    for route in routes:
        each = [line for line in deliveries if line["route"] == route]
        assert each
        for line in each:
            assert line["verdict"] == "ack"
            assert (line["host"], line["pid"]) == (socket.gethostname(), consumer.process.pid)
    (unpacked,) = (line for line in deliveries if line["route"] == "unpack")
    assert unpacked["recordings"] == {"converted": 5, "rejected": 1}
    assert set(unpacked["stages"]) == {"read", "transcode", "store", "record"}
    assert sum(line.get("audio_seconds", 0.0) for line in deliveries) > 0
    (dead,) = (line for line in lines if line.get("verdict") == "dead")
    assert dead["reason"] == "malformed"


def test_readiness_follows_the_broker_and_health_does_not(start: Start, network: Network) -> None:
    network.stop()
    consumer = start("ops", "consume", "unpack", HUNG_AFTER="60")
    consumer.logged("broker lost")
    consumer.told("WATCHDOG=1")
    assert consumer.get("/healthz") == (200, "ok\n")
    assert consumer.get("/readyz") == (503, "unpack is not connected to the broker\n")
    assert "READY=1" not in consumer.heard
    network.start()
    consumer.told("READY=1")
    consumer.answers("/readyz", 200)
    assert consumer.figures.value("dropscribe_connected", route="unpack") == 1
    network.stop()
    consumer.answers("/readyz", 503)
    assert consumer.get("/healthz") == (200, "ok\n")
    assert consumer.figures.value("dropscribe_connected", route="unpack") == 0
    network.start()
    consumer.answers("/readyz", 200)
    consumer.process.terminate()
    consumer.told("STOPPING=1")
    assert consumer.process.wait(20) == 0
    assert consumer.heard.count("READY=1") == 1


def test_a_loop_that_hangs_is_not_healthy_and_lets_the_watchdog_bite(
    start: Start, network: Network
) -> None:
    consumer = start("ops", "consume", "unpack", HUNG_AFTER=str(HUNG))
    consumer.told("READY=1")
    consumer.told("WATCHDOG=1")
    network.cut()
    consumer.answers("/healthz", 503)
    status, words = consumer.get("/readyz")
    assert status == 503
    assert words.startswith("unpack hangs: ")
    time.sleep(1)
    consumer.systemd.heard()
    time.sleep(WATCHDOG * 1.5)
    assert "WATCHDOG=1" not in consumer.systemd.heard()
    network.mend()
    consumer.answers("/healthz", 200)


def test_work_that_takes_long_is_no_hang(start: Start, pipeline: Pipeline, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    consumer = start("tests.integration.slow_consumer", str(go_on), "unpack", HUNG_AFTER=str(HUNG))
    consumer.told("READY=1")
    batch = pipeline.drop(archive(tmp_path, tar_of(RECORDINGS)))
    eventually(lambda: in_hand(consumer, "unpack"))
    with watched(consumer) as pages:
        time.sleep(HUNG * 3)
    assert pages == {200}
    consumer.systemd.heard()
    consumer.told("WATCHDOG=1")
    go_on.touch()
    eventually(lambda: pipeline.store.head(batch.manifest_key))
    line = consumer.logged("delivery")
    assert line["seconds"] > HUNG * 3


@contextmanager
def watched(consumer: Consumer) -> Iterator[set[int]]:
    """Look at the health before, and after."""
    seen = {consumer.get("/healthz")[0]}
    yield seen
    seen.add(consumer.get("/healthz")[0])
    seen.add(consumer.get("/readyz")[0])


class Failures(Observer):
    """Counts the store's failures."""

    number = 0

    def store_failed(self) -> None:
        self.number += 1


def test_a_store_that_fails_is_told_of_once_and_absence_is_no_failure(
    environment: Environment, variables: dict[str, str]
) -> None:
    failures = Failures()
    assert make_store(environment, failures).head("archives/nothing.tar") is None
    assert failures.number == 0
    away = Environment({**variables, "S3_ENDPOINT": "http://127.0.0.1:9"})
    with pytest.raises(TransientError):
        make_store(away, failures).head("archives/a.tar")
    assert failures.number == 1


def test_an_unavailable_address_is_reported_at_once(
    variables: dict[str, str], network: Network
) -> None:
    list(bootstrap(Environment(variables)))
    ended = subprocess.run(
        [sys.executable, "-m", "ops", "consume", "unpack"],
        cwd=ROOT,
        env={**os.environ, **variables, "METRICS_ADDRESS": f"127.0.0.1:{network.port}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: METRICS_ADDRESS='127.0.0.1:{network.port}' cannot be")
