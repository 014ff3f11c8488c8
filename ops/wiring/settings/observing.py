"""How consumers are observed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from ops.wiring.environment import Environment, SettingError

_ADDRESS = re.compile(r"(?:(\[[0-9a-fA-F:.]+\]|[\w.-]*):)?(\d{1,5})", re.ASCII)

_LOOPBACK = "127.0.0.1"

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a name or an IP address, and a port (0: any that is free)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``PORT``, which is on loopback.

        Raises:
            ValueError: It is of another form.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match[2]) > 0xFFFF:  # noqa: PLR2004
            raise ValueError(f"{text!r} is not of the form HOST:PORT")
        return cls((match[1] or _LOOPBACK).strip("[]"), int(match[2]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ObservingSettings:
    """How consumers are observed.

    ===================  =====================================================
    ``METRICS_ADDRESS``  ``HOST:PORT`` on which ``/metrics``, ``/healthz`` and
                         ``/readyz`` are served, or ``PORT`` on 127.0.0.1 (not
                         set: they are not served)
    ``HUNG_AFTER``       seconds without a sign of its connection's thread
                         after which a consumer counts as hung (300, as an SQS
                         that does not answer is waited for four minutes)
    ``NOTIFY_SOCKET``    and ``WATCHDOG_USEC``, ``WATCHDOG_PID``: set by
                         systemd (sd_notify(3), sd_watchdog_enabled(3))
    ===================  =====================================================

    Attributes:
        metrics: Where to serve.
        hung_after: Seconds.
        notify_socket: systemd's socket, as it names it.
        watchdog: Seconds within which systemd wants to hear from the process.
    """

    metrics: Address | None
    hung_after: int
    notify_socket: str | None
    watchdog: float | None

    @classmethod
    def read(cls, environment: Environment, *, pid: int) -> Self:
        """Read and check the variables; ``pid`` is this process' own.

        Raises:
            SettingError: One can't be.
        """
        return cls(
            metrics=_read_address(environment),
            hung_after=environment.integer("HUNG_AFTER", 300),
            notify_socket=_read_socket(environment),
            watchdog=_read_watchdog(environment, pid),
        )


def _read_address(environment: Environment) -> Address | None:
    text = environment.optional("METRICS_ADDRESS")
    try:
        return None if text is None else Address.parse(text)
    except ValueError as exc:
        raise SettingError(f"METRICS_ADDRESS={exc} (for example 127.0.0.1:9464)") from exc


def _read_socket(environment: Environment) -> str | None:
    text = environment.optional("NOTIFY_SOCKET")
    if text is not None and not text.startswith(("/", "@")):
        raise SettingError(f"NOTIFY_SOCKET={text!r} is neither a path nor an abstract socket")
    return text


def _read_watchdog(environment: Environment, pid: int) -> float | None:
    """Read how often the watchdog wants to be fed; None where it is not this process' to do."""
    if environment.integer("WATCHDOG_PID", pid) != pid:
        return None
    # Up to a year: systemd's own "infinity" leaves the variable out.
    microseconds = environment.integer("WATCHDOG_USEC", 0, least=0, most=_MICROSECONDS * 31_536_000)
    return microseconds / _MICROSECONDS or None
