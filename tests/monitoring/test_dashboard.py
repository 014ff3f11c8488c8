"""Grafana can show the dashboard."""

from __future__ import annotations

import json
from pathlib import Path

from tests.monitoring.dashboard import expressions, panels, read_dashboard
from tests.monitoring.tools import promtool


def test_prometheus_understands_every_question(tmp_path: Path) -> None:
    asked = expressions()
    rules = [{"record": f"question_{n}", "expr": text} for n, text in enumerate(asked)]
    path = tmp_path / "questions.yml"
    # JSON is YAML.
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = promtool("check", "rules", path)
    assert checked.returncode == 0, checked.stdout
    assert f"{len(asked)} rules found" in checked.stdout


def test_the_dashboard_has_panels() -> None:
    assert len(panels()) >= 30
    assert len(expressions()) >= len(panels())


def test_every_panel_says_what_it_shows() -> None:
    for panel in panels():
        assert panel["title"]
        assert panel["description"], panel["title"]
        assert panel["targets"], panel["title"]


def test_panels_lie_beside_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in read_dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    numbers = [panel["id"] for panel in read_dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_each_question_goes_to_the_prometheus_that_is_chosen() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])
