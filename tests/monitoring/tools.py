"""The tools that come with Prometheus and Alertmanager, and the folder of the role's files."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.harness.servers.process import require

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "ops/ansible/roles/monitoring"
RULES = ROLE / "files/dropscribe.rules.yml"
DASHBOARD = ROLE / "files/dropscribe-dashboard.json"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool; the caller judges its output."""
    require(["promtool"], "apt-get install prometheus")
    return _run("promtool", *arguments)


def amtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run amtool; the caller judges its output."""
    require(["amtool"], "apt-get install prometheus-alertmanager")
    return _run("amtool", *arguments)


def _run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
