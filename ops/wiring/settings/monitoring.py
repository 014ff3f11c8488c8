"""Settings of monitoring: systemd, metrics and health checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import PlainValidator

from ops.wiring.settings.declaration import Form, Settings, count, problem, setting
from ops.wiring.settings.values import (
    AbsolutePath,
    CommandLine,
    Duration,
    DurationLimits,
    FallingLimits,
    RisingLimits,
    Whole,
)

_ADDRESS = re.compile(r"(?:(\[[0-9a-fA-F:.]+\]|[\w.-]*):)?(\d{1,5})", re.ASCII)
_LOOPBACK = "127.0.0.1"
_MICROSECONDS = 1_000_000

#: systemd leaves the variable out for its own "infinity".
_YEAR = 31_536_000


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host name or IP address, and a port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``HOST:PORT``, ``[IPV6]:PORT``, or ``PORT`` on loopback.

        Raises:
            ValueError: It has another form.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match[2]) > 0xFFFF:  # noqa: PLR2004
            raise ValueError(f"{text!r} is not of the form HOST:PORT")
        return cls((match[1] or _LOOPBACK).strip("[]"), int(match[2]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_FORM = Form("HOST:PORT or PORT, for example 127.0.0.1:9464")


def _socket(text: str) -> str:
    if not text.startswith(("/", "@")):
        raise problem("is neither a path nor an abstract socket")
    return text


class SystemdSettings(Settings):
    """What systemd sets for a service (sd_notify(3), sd_watchdog_enabled(3))."""

    title = "Monitoring"
    foreign = "systemd"

    notify_socket: Annotated[str, PlainValidator(_socket)] | None = setting(
        "NOTIFY_SOCKET", "Socket of systemd, to report that the consumer is ready", default=None
    )
    watchdog_microseconds: Whole = count(
        "WATCHDOG_USEC",
        "Microseconds within which systemd expects a sign of life",
        default=0,
        shown="none",
        least=0,
        most=_MICROSECONDS * _YEAR,
    )
    watchdog_pid: Whole | None = count(
        "WATCHDOG_PID", "Process that the watchdog is for", default=None
    )


class ObservingSettings(SystemdSettings):
    """How consumers are monitored."""

    title = "Monitoring"
    foreign = ""

    metrics: Annotated[Address, PlainValidator(Address.parse), _FORM] | None = setting(
        "METRICS_ADDRESS",
        "HOST:PORT, or PORT on 127.0.0.1, that serves /metrics, /healthz and /readyz",
        default=None,
        shown="not served",
    )
    # An SQS that does not answer keeps the connection's thread waiting for four minutes.
    hung_after: Whole = count(
        "HUNG_AFTER",
        "Seconds without a sign of life after which a consumer counts as hung",
        default=300,
    )

    def watchdog(self, pid: int) -> float | None:
        """Seconds within which systemd expects a sign of life of this process; None for never."""
        if self.watchdog_pid not in (None, pid):
            return None
        return self.watchdog_microseconds / _MICROSECONDS or None


class HealthSettings(Settings):
    """The limits beyond which ``dropscribe health`` reports a problem."""

    title = "Health"

    timeout: Duration = setting("HEALTH_TIMEOUT", "Time limit of each check", default="10s")
    stuck_after: Duration = setting(
        "HEALTH_STUCK_AFTER", "Time without progress after which a batch is stuck", default="2h"
    )
    behind: DurationLimits = setting(
        "HEALTH_BEHIND", "Longest wait for a stage: warning, critical", default="6h,24h"
    )
    sweep: DurationLimits = setting(
        "HEALTH_SWEEP", "Time since the last sweep: warning, critical", default="1h,6h"
    )
    free: FallingLimits = setting(
        "HEALTH_FREE", "Free share of a volume: warning, critical", default="0.2,0.1"
    )
    clock: DurationLimits = setting(
        "HEALTH_CLOCK",
        "Difference between this host's clock and the store's: warning, critical",
        default="10s,5min",
    )
    connections: RisingLimits = setting(
        "HEALTH_CONNECTIONS",
        "Share of the database's connections in use: warning, critical",
        default="0.8,0.95",
    )
    completion: RisingLimits = setting(
        "HEALTH_COMPLETION_SECONDS",
        "Seconds that the query for complete batches takes: warning, critical",
        default="0.1,2",
    )
    volume: AbsolutePath | None = setting(
        "HEALTH_VOLUME",
        "Mount point that must be mounted if SCRATCH_ROOT or MODELS_ROOT is below it",
        default=None,
    )
    rabbitmqctl: CommandLine = setting(
        "HEALTH_RABBITMQCTL",
        "Command that runs rabbitmqctl, such as sudo -n rabbitmqctl, or ssh to the broker's host",
        default="rabbitmqctl",
    )
