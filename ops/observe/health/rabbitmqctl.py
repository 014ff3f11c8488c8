"""Asking RabbitMQ what only its own command tells, where that can be run."""

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
    """RabbitMQ's command, on its host: for root, for RabbitMQ's user, and by HEALTH_RABBITMQCTL.

    Whatever keeps it from being run (it is not installed, this user may not, there is
    no node on this host) is the same: it tells nothing.

    Args:
        argv: The command; arguments are put behind it, without a shell.
        patience: How long it may take; its own start takes a second or two.
    """

    def __init__(self, argv: Sequence[str], patience: timedelta) -> None:
        self._argv = argv
        self._patience = patience.total_seconds()

    def consumer_timeout(self) -> float | None:
        """Ask for how many seconds a delivery may be unsettled.

        Returns:
            Infinity where that is switched off; None where it can't be asked.
        """
        printed = self._run("eval", "application:get_env(rabbit, consumer_timeout).")
        if printed is None:
            return None
        match = _TIMEOUT.search(printed)
        if match is not None:
            return int(match[1]) / 1000
        return float("inf") if "undefined" in printed else None

    def bindings(self, address: BrokerAddress) -> set[tuple[str, str]] | None:
        """Ask what the deployment's exchange is bound to.

        Returns:
            Queues with their routing keys; None where it can't be asked.
        """
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
