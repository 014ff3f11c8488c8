"""Prometheus and Alertmanager accept the files that Ansible writes for an inventory."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.monitoring.conftest import Render
from tests.monitoring.tools import ROLE, amtool, promtool

SERVERS = {"cluster": "mon1", "single": "only1"}
JOBS = ("node", "consumers", "rabbitmq", "postgresql")


def addresses(configuration: Path) -> Iterable[str]:
    """List the targets of each job and host, as Prometheus reports them."""
    for job in JOBS:
        found = promtool("check", "service-discovery", "--timeout=1s", configuration, job)
        assert found.returncode == 0, found.stdout
        for target in json.loads(found.stdout):
            labels, at = target["labels"], target["discoveredLabels"]
            where = f"{at['__scheme__']}://{at['__address__']}{at['__metrics_path__']}"
            if "__param_module" in at:
                where += f"?module={at['__param_module']}"
            name = f"{labels['job']} {labels['instance']} {labels.get('worker', '')}"
            yield f"{name.strip()}: {where}"


@pytest.mark.parametrize("inventory", SERVERS)
def test_prometheus_accepts_its_configuration(inventory: str, render: Render) -> None:
    checked = promtool("check", "config", render(inventory) / SERVERS[inventory] / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("inventory", SERVERS)
def test_alertmanager_accepts_its_configuration(inventory: str, render: Render) -> None:
    path = render(inventory) / SERVERS[inventory] / "alertmanager.yml"
    checked = amtool("check-config", path)
    assert checked.returncode == 0, checked.stdout
    assert "- 3 inhibit rules" in checked.stdout
    assert "- 2 receivers" in checked.stdout


@pytest.mark.parametrize(
    ("alert", "receiver"), [("Watchdog", "watchdog"), ("StuckBatch", "operator")]
)
def test_people_are_told_of_all_but_what_always_fires(
    alert: str, receiver: str, render: Render
) -> None:
    path = render("cluster") / "mon1" / "alertmanager.yml"
    given = (f"--config.file={path}", f"--verify.receivers={receiver}", f"alertname={alert}")
    told = amtool("config", "routes", "test", *given)
    assert told.returncode == 0, told.stdout


def test_prometheus_serves_others_by_tls_and_password(render: Render) -> None:
    checked = promtool("check", "web-config", render("cluster") / "mon1" / "web.yml")
    assert checked.returncode == 0, checked.stdout


def test_other_hosts_are_read_through_their_doors(render: Render) -> None:
    assert sorted(addresses(render("cluster") / "mon1" / "prometheus.yml")) == [
        "consumers app1 review: https://192.0.2.4:9998/proxy?module=worker-review",
        "consumers app1 unpack-2: https://192.0.2.4:9998/proxy?module=worker-unpack-2",
        "consumers app1 unpack: https://192.0.2.4:9998/proxy?module=worker-unpack",
        "consumers gpu1 transcribe: https://[2001:db8::5]:9998/proxy?module=worker-transcribe",
        "node app1: https://192.0.2.4:9998/proxy?module=node",
        "node db1: https://db1.example.org:9998/proxy?module=node",
        "node gpu1: https://[2001:db8::5]:9998/proxy?module=node",
        "node mon1: http://127.0.0.1:9100/metrics",
        "node mq1: https://192.0.2.2:9998/proxy?module=node",
        "postgresql db1: https://db1.example.org:9998/proxy?module=postgresql",
        "rabbitmq mq1: https://192.0.2.2:9998/proxy?module=rabbitmq",
    ]


def test_one_host_alone_is_read_directly(render: Render) -> None:
    assert sorted(addresses(render("single") / "only1" / "prometheus.yml")) == [
        "consumers only1 review: http://127.0.0.1:9466/metrics",
        "consumers only1 transcribe: http://127.0.0.1:9465/metrics",
        "consumers only1 unpack: http://127.0.0.1:9464/metrics",
        "node only1: http://127.0.0.1:9100/metrics",
        "postgresql only1: http://127.0.0.1:9187/metrics",
        "rabbitmq only1: http://127.0.0.1:15692/metrics",
    ]


def test_the_exporters_proxy_offers_its_hosts_modules(render: Render) -> None:
    def modules(host: str) -> list[str]:
        lines = (render("cluster") / host / "exporter-exporter.yml").read_text().splitlines()
        return [line.strip(" :") for line in lines if line.startswith("  ") and line[2] != " "]

    assert modules("app1") == ["node", "worker-unpack", "worker-unpack-2", "worker-review"]
    assert modules("mq1") == ["node", "rabbitmq"]
    assert modules("db1") == ["node", "postgresql"]


def test_scripts_can_be_run() -> None:
    scripts = [file for file in (ROLE / "files").iterdir() if not file.suffix]
    assert len(scripts) >= 2
    for script in scripts:
        assert script.stat().st_mode & stat.S_IXUSR, script.name
