"""Each alert fires when it should, and not before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.monitoring.alerts import Alert, read_alerts
from tests.monitoring.tools import ROOT, RULES, promtool

ALERTS = read_alerts()
CASES = Path(__file__).parent / "rules"
RUNBOOKS = ROOT / "ops/README.md"


def test_prometheus_accepts_the_rules() -> None:
    checked = promtool("check", "rules", "--lint-fatal", RULES)
    assert checked.returncode == 0, checked.stdout
    assert f"{len(ALERTS)} rules found" in checked.stdout


@pytest.mark.parametrize("case", sorted(CASES.glob("*.yml")), ids=lambda case: case.stem)
def test_alerts_fire_as_expected(case: Path) -> None:
    tested = promtool("test", "rules", case)
    assert tested.returncode == 0, tested.stdout


def test_every_alert_has_cases_in_which_it_fires_and_does_not() -> None:
    assert {case.stem for case in CASES.glob("*.yml")} == set(ALERTS)
    for case in CASES.glob("*.yml"):
        text = case.read_text()
        assert set(re.findall(r"alertname: (\w+)", text)) == {case.stem}
        assert "exp_labels:" in text
        assert "exp_alerts: []" in text


@pytest.mark.parametrize("alert", ALERTS.values(), ids=lambda alert: alert.name)
def test_says_how_bad_it_is_and_leads_to_its_runbook(alert: Alert) -> None:
    assert re.search(r"severity: (warning|critical|none)\n", alert.text)
    assert "summary: " in alert.text
    assert "description: >-" in alert.text
    assert f"runbook: ops/README.md#{alert.name.lower()}\n" in alert.text
    assert f"### {alert.name}\n" in RUNBOOKS.read_text()
