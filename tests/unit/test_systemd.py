"""systemd is told what it has to know, by its own protocol: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.observe.metrics.liveness import LoopHealth, ProcessHealth
from ops.observe.systemd import Notifier, Supervision
from ops.wiring.environment import Environment, SettingError
from ops.wiring.settings import Address, ObservingSettings
from tests.unit.test_call_summary import Written
from tests.unit.test_metrics_server import Clock

WATCHDOG = 120.0
HUNG = 60.0


class Systemd:
    """The other end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(0)

    def heard(self) -> list[str]:
        """Take what was sent: a line per assignment."""
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    name = f"@dropscribe-test-{uuid.uuid4().hex}"
    systemd = Systemd(name if request.param == "abstract" else str(tmp_path / "notify"))
    with closing(systemd.socket):
        yield systemd


class Supervised:
    """A process of one loop, as time goes by."""

    def __init__(self, systemd: Systemd, watchdog: float | None = WATCHDOG) -> None:
        self.systemd = systemd
        self.written = Written()
        self.clock = Clock()
        self.loop = LoopHealth("unpack", self.clock)
        self.process = ProcessHealth([self.loop], hung_after=HUNG)
        self.supervision = Supervision(
            Notifier(systemd.address, self.written.log),
            self.process,
            watchdog=watchdog,
            clock=self.clock,
        )

    def after(self, seconds: float, *, turning: bool = True) -> list[str]:
        """Let time go by; gives what systemd hears meanwhile."""
        heard: list[str] = []
        for _ in range(max(1, round(seconds * 2))):
            self.clock.now += 0.5 if seconds else 0
            if turning:
                self.loop.turn()
            self.supervision.attend()
            heard += self.systemd.heard()
        return heard


@pytest.fixture
def supervised(systemd: Systemd) -> Supervised:
    return Supervised(systemd)


def test_readiness_is_sent_once_connected(supervised: Supervised) -> None:
    assert "READY=1" not in supervised.after(30)
    supervised.loop.is_connected = True
    assert supervised.after(0)[:2] == [
        "READY=1",
        "STATUS=unpack connected, 0 in hand, 0 settled",
    ]
    supervised.loop.is_connected = False
    supervised.after(60)
    supervised.loop.is_connected = True
    assert "READY=1" not in supervised.after(60)


def test_an_unreachable_broker_at_the_start_is_waited_for(supervised: Supervised) -> None:
    """systemd would end it after TimeoutStartSec, again and again."""
    heard = supervised.after(600)
    assert heard.count("EXTEND_TIMEOUT_USEC=60000000") > 600 / 60
    supervised.loop.is_connected = True
    supervised.after(1)
    assert "EXTEND_TIMEOUT_USEC=60000000" not in supervised.after(60)


def test_the_watchdog_is_fed_well_in_time_however_long_work_takes(supervised: Supervised) -> None:
    supervised.loop.is_connected = True
    supervised.loop.in_hand = 1
    for _ in range(30):
        assert "WATCHDOG=1" in supervised.after(WATCHDOG / 2)


def test_a_loop_that_hangs_is_not_fed_for(supervised: Supervised) -> None:
    supervised.loop.is_connected = True
    supervised.after(10)
    assert "WATCHDOG=1" in supervised.after(HUNG, turning=False)
    heard = supervised.after(600, turning=False)
    assert "WATCHDOG=1" not in heard
    assert any(line.startswith("STATUS=unpack hangs") for line in heard)
    # Should it turn again before systemd ends it, all is well.
    assert "WATCHDOG=1" in supervised.after(WATCHDOG / 4)


def test_a_dead_loop_stops_the_watchdog(supervised: Supervised) -> None:
    supervised.loop.is_connected = True
    supervised.after(10)
    supervised.loop.has_died = True
    assert "WATCHDOG=1" not in supervised.after(600)


def test_without_a_watchdog_nothing_is_fed(systemd: Systemd) -> None:
    supervised = Supervised(systemd, watchdog=None)
    supervised.loop.is_connected = True
    assert "WATCHDOG=1" not in supervised.after(600)


def test_stopping_is_sent_once_and_the_watchdog_is_fed(supervised: Supervised) -> None:
    supervised.loop.is_connected = True
    supervised.after(10)
    supervised.process.is_stopping = True
    heard = supervised.after(0)
    assert heard[0] == "STOPPING=1"
    assert heard[1].startswith("STATUS=stopping; unpack connected")
    heard = supervised.after(WATCHDOG)
    assert "WATCHDOG=1" in heard
    assert "STOPPING=1" not in heard


def test_one_that_stops_before_it_was_ready_never_says_that_it_is(supervised: Supervised) -> None:
    supervised.process.is_stopping = True
    supervised.loop.is_connected = True
    assert "READY=1" not in supervised.after(60)


def test_the_status_names_the_current_work_and_not_too_often(supervised: Supervised) -> None:
    supervised.loop.is_connected = True
    supervised.after(10)
    heard: list[str] = []
    for number in range(100):
        supervised.loop.settled = number
        heard += supervised.after(0.5)
    states = [line for line in heard if line.startswith("STATUS=")]
    assert 5 <= len(states) <= 15
    assert states[-1].startswith("STATUS=unpack connected, 0 in hand, ")


def test_a_systemd_that_does_not_listen_is_no_fault_and_is_logged_once(
    supervised: Supervised,
) -> None:
    supervised.systemd.socket.close()
    for _ in range(3):
        supervised.supervision.attend()
        supervised.clock.now += 60
    (line,) = supervised.written.lines
    assert line["event"] == "cannot notify systemd"


def test_a_systemd_that_is_behind_is_not_waited_for(supervised: Supervised) -> None:
    notifier = Notifier(supervised.systemd.address, supervised.written.log)
    for _ in range(5000):
        notifier.send("WATCHDOG=1")
    assert supervised.written.lines == []


def test_without_a_socket_nobody_is_told() -> None:
    written = Written()
    Notifier(None, written.log).send("READY=1")
    assert written.lines == []


def read(**variables: str) -> ObservingSettings:
    return ObservingSettings.read(Environment(variables))


def test_nothing_is_served_or_sent_by_default() -> None:
    settings = read()
    assert (settings.metrics, settings.notify_socket) == (None, None)
    assert settings.watchdog(os.getpid()) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", Address("127.0.0.1", 9464)),
        (":9464", Address("127.0.0.1", 9464)),
        ("192.0.2.1:9464", Address("192.0.2.1", 9464)),
        ("gpu1.example.org:9464", Address("gpu1.example.org", 9464)),
        ("[::1]:9464", Address("::1", 9464)),
    ],
)
def test_a_port_alone_is_on_loopback(text: str, address: Address) -> None:
    assert read(METRICS_ADDRESS=text).metrics == address


@given(
    st.from_regex(r"[a-z][a-z0-9.-]{0,20}|::1|10\.0\.0\.1", fullmatch=True), st.integers(0, 65535)
)
def test_an_address_is_read_as_it_is_written(host: str, port: int) -> None:
    assert Address.parse(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize(
    "variables",
    [
        {"METRICS_ADDRESS": "localhost"},
        {"METRICS_ADDRESS": "localhost:70000"},
        {"METRICS_ADDRESS": "http://localhost:9464/"},
        {"METRICS_ADDRESS": "::1:9464"},
        {"HUNG_AFTER": "0"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"WATCHDOG_USEC": "often"},
    ],
)
def test_an_invalid_setting_is_named(variables: dict[str, str]) -> None:
    (name,) = variables
    with pytest.raises(SettingError, match=name):
        read(**variables)


def test_a_watchdog_of_another_process_is_not_ours_to_feed() -> None:
    assert read(WATCHDOG_USEC="120000000").watchdog(os.getpid()) == WATCHDOG
    assert (
        read(WATCHDOG_USEC="120000000", WATCHDOG_PID=str(os.getpid())).watchdog(os.getpid())
        == WATCHDOG
    )
    assert read(WATCHDOG_USEC="120000000", WATCHDOG_PID="1").watchdog(os.getpid()) is None
