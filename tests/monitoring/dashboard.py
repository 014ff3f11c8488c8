"""The parts of the dashboard that tests read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.monitoring.tools import DASHBOARD

#: What Grafana puts in the place of its variables.
_VARIABLES = {"$__rate_interval": "5m", "$route": ".*"}


def read_dashboard() -> Mapping[str, Any]:
    """Read it as Grafana does."""
    board: Mapping[str, Any] = json.loads(DASHBOARD.read_text())
    return board


def panels() -> Sequence[Mapping[str, Any]]:
    """List the panels with data."""
    return [panel for panel in read_dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Sequence[str]:
    """List the queries of Prometheus, with Grafana's variables filled in."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked += [note["expr"] for note in read_dashboard()["annotations"]["list"]]
    for name, value in _VARIABLES.items():
        asked = [expression.replace(name, value) for expression in asked]
    return asked
