"""Alerts and dashboard use metrics that exist."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from ops.observe.health.checks import CHECKS
from ops.observe.health.result import CheckResult, Level
from ops.observe.health.textfile import write_textfile
from ops.observe.metrics.consumer import ConsumerMetrics
from ops.observe.metrics.liveness import LoopHealth
from tests.monitoring.alerts import read_alerts
from tests.monitoring.dashboard import expressions
from tests.monitoring.tools import ROLE

#: Others' figures: node exporter 1.5, RabbitMQ 3.10, PostgreSQL's exporter 0.11, Prometheus itself.
OTHERS = {
    "ALERTS",
    "node_cpu_seconds_total",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "node_systemd_service_restart_total",
    "node_systemd_unit_state",
    "node_time_seconds",
    "pg_stat_activity_count",
    "pg_up",
    "process_resident_memory_bytes",
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_queue_messages_ready",
    "rabbitmq_queue_messages_unacked",
    "up",
}

#: Words of PromQL that are no figures.
_WORDS = {"and", "or", "unless", "on", "by", "without", "offset"}


def of_consumers() -> set[str]:
    figures = ConsumerMetrics("0.1.0")
    # A stage has a figure as soon as it was run.
    figures.observer(LoopHealth("unpack")).step_took("read", 1.0)
    text = generate_latest(figures.registry).decode()
    return set(re.findall(r"^# TYPE (dropscribe_\w+)", text, re.MULTILINE)) | set(
        re.findall(r"^(dropscribe_\w+)", text, re.MULTILINE)
    )


def of_health(folder: Path) -> set[str]:
    """The metrics of `dropscribe health --textfile` when every check measured something."""
    measured = {
        "messages": {"unpack": 1},
        "consumers": {"unpack": 1},
        "oldest_seconds": {"unpack": 1},
        "dead": {"unpack": 1},
        "stuck": 0,
        "ended": 1,
        "repaired": {"archive-untold": 1},
        "offset_seconds": 1,
        "free_ratio": 0.5,
    }
    checks = ("queues", "stages", "batches", "sweep", "clock", "scratch", "models-volume")
    numbers = {check: dict(measured) for check in checks}
    path = folder / "dropscribe.prom"
    findings = [CheckResult(check, Level.OK, "", figures=numbers[check]) for check in checks]
    write_textfile(path, findings, datetime(2025, 6, 22, tzinfo=UTC), "site")
    return set(re.findall(r"^(dropscribe_\w+)", path.read_text(), re.MULTILINE))


def of_scripts() -> set[str]:
    texts = [path.read_text() for path in (ROLE / "files").iterdir() if not path.suffix]
    texts += [path.read_text() for path in (ROLE / "templates").glob("dropscribe-*")]
    return set(re.findall(r"dropscribe_\w+_seconds", "\n".join(texts)))


def metrics_in(expression: str) -> set[str]:
    """List the metrics of a query."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", "", expression)
    bare = re.sub(r"\b(by|without|on)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\boffset\s+\w+", "", bare)
    names = re.findall(r"(?<![\w.])([A-Za-z_]\w*)(?!\w*\s*\()", bare)
    return {name for name in names if name not in _WORDS}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("figures")
    return OTHERS | of_consumers() | of_health(folder) | of_scripts()


def test_figures_are_found_in_questions() -> None:
    question = 'sum by (route) (rate(a_total{x="up"}[5m])) / on (y) b_total offset 26h > 14 * 86400'
    assert metrics_in(question) == {"a_total", "b_total"}


def test_alerts_ask_for_served_metrics(served: set[str]) -> None:
    asked = {alert.name: metrics_in(alert.expression) - served for alert in read_alerts().values()}
    assert {name: unknown for name, unknown in asked.items() if unknown} == {}


def test_the_dashboard_asks_for_served_metrics(served: set[str]) -> None:
    asked = {expression: metrics_in(expression) - served for expression in expressions()}
    assert {name: unknown for name, unknown in asked.items() if unknown} == {}


def test_every_check_is_somebodys() -> None:
    roles = ROLE.parent
    operators = (
        (roles / "operator/vars/main.yml").read_text().partition("operator_health_checks:")[2]
    )
    hosts = (roles / "consumer_host/vars/main.yml").read_text()
    # The operator's host looks at what is everybody's, each host at what is its own: never both,
    # or the node exporter would be left the same figure twice.
    looked_at = re.findall(r"^  - ([a-z-]+)$", operators, re.MULTILINE)
    looked_at += sorted(set(re.findall(r"--check ([a-z-]+)", hosts)))
    assert sorted(looked_at) == sorted(check.name for check in CHECKS)
