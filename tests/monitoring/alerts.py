"""The parts of the alert rules that tests read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.monitoring.tools import RULES

_ALERT = re.compile(
    r"^      - alert: (\w+)\n(.*?)(?=^      - alert:|^  - name:|\Z)", re.MULTILINE | re.DOTALL
)
_EXPRESSION = re.compile(r"^        expr: (?:\|\n((?:^          .*\n)+)|(.+)\n)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert rule.

    Attributes:
        name: Its name.
        expression: When it fires.
        text: All that stands in its rule.
    """

    name: str
    expression: str
    text: str


def read_alerts() -> Mapping[str, Alert]:
    """Read them from the rules' file, by name."""
    alerts = {}
    for name, text in _ALERT.findall(RULES.read_text()):
        found = _EXPRESSION.search(text)
        assert found is not None, f"{name} has no expression"
        alerts[name] = Alert(name, (found[1] or found[2]).strip(), text)
    return alerts
