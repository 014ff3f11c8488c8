"""Facts that only RabbitMQ's own command reports, if it can be run."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from datetime import timedelta

from consumers.broker.address import BrokerAddress
from events.routes import exchange_name

_TIMEOUT = re.compile(r"\{ok,(\d+)\}")


class Rabbitmqctl:
    """RabbitMQ's command. It needs root or RabbitMQ's user, on the broker's host.

    If it cannot be run for whatever reason (not installed, no permission, no node on this
    host), every method gives None.

    Args:
        argv: The command, to which arguments are appended; no shell is involved.
        patience: The timeout; the command takes a second or two to start.
    """

    def __init__(self, argv: Sequence[str], patience: timedelta) -> None:
        self._argv = argv
        self._patience = patience.total_seconds()

    def consumer_timeout(self) -> float | None:
        """Return the seconds that a delivery may stay unsettled; infinity for no limit."""
        printed = self._run("eval", "application:get_env(rabbit, consumer_timeout).")
        if printed is None:
            return None
        match = _TIMEOUT.search(printed)
        if match is not None:
            return int(match[1]) / 1000
        return float("inf") if "undefined" in printed else None

    def bindings(self, address: BrokerAddress) -> set[tuple[str, str]] | None:
        """Return the bindings of the deployment's exchange, as (queue, routing key)."""
        printed = self._run(
            "list_bindings",
            *("--vhost", address.virtual_host, "--formatter", "json"),
            *("source_name", "destination_name", "routing_key"),
        )
        if printed is None:
            return None
        try:
            rows = json.loads(printed)
            return {
                (row["destination_name"], row["routing_key"])
                for row in rows
                if row["source_name"] == exchange_name(address.prefix)
            }
        except (ValueError, KeyError, TypeError):
            return None

    def _run(self, *arguments: str) -> str | None:
        try:
            done = subprocess.run(
                [*self._argv, "--quiet", *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self._patience,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None
