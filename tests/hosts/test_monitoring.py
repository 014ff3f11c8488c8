"""The role monitoring on two hosts: one scrapes both, and alerts the operator."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.hosts.control import Control, reached
from tests.hosts.machine import Debian, Machine, machine

_ROLES = "monitoring.yml"

#: What a worker serves, in place of one.
_FIGURES = 'dropscribe_connected{route="unpack"} 1\n'

#: Before the role comes, the database that its exporter reads: on its socket alone.
_DATABASE = """
mkdir -p /etc/postgresql-common
echo create_main_cluster=false >/etc/postgresql-common/createcluster.conf
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends postgresql >/dev/null
pg_createcluster 15 main --port 5432 -o listen_addresses= --start
"""

_WORKER = f"""
mkdir -p /srv/figures
echo '{_FIGURES.strip()}' >/srv/figures/metrics
systemd-run --quiet --unit figures python3 -m http.server 9464 --bind 127.0.5.2 \
    --directory /srv/figures
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Two hosts, provisioned.

    Attributes:
        reader: The host in the group monitoring, which has a database, too.
        worker: One that is read.
        control: From where the roles are run.
        told: What Alertmanager has posted.
    """

    reader: Machine
    worker: Machine
    control: Control
    told: Sequence[Mapping[str, Any]]

    def ask(self, path: str) -> Any:
        """Ask Prometheus."""
        out = self.reader.run(
            "python3 -c 'import sys, urllib.request as r; "
            f"print(r.urlopen(sys.argv[1]).read().decode())' 'http://127.0.5.1:9090{path}'"
        ).out
        return json.loads(out)["data"]


@contextmanager
def _operator() -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Receive Alertmanager's posts; yields the receiver's URL, and the posts."""
    told: list[Mapping[str, Any]] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/secret-path", told
        server.shutdown()
        thread.join()


def _inventory(hosts: Sequence[Machine], webhook: str) -> Mapping[str, Any]:
    given = {
        host.name: {
            **reached(host),
            "monitoring_local_address": local,
            "monitoring_webhook_url": webhook,
            # Nothing here asks it.
            "dropscribe_broker_address": "127.0.1.53",
        }
        for host, local in zip(hosts, ("127.0.5.1", "127.0.5.2"), strict=True)
    }
    reader, worker = (host.name for host in hosts)
    given[worker]["consumer_host_workers"] = {"unpack": 1}
    groups = {"monitoring": reader, "databases": reader, "consumers": worker}
    children: dict[str, Any] = {group: {"hosts": {name: {}}} for group, name in groups.items()}
    return {"all": {"hosts": given, "children": children}}


@pytest.fixture(scope="module")
def site(base: Debian, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    control = Control(tmp_path_factory.mktemp("operator"))
    control.compose(_ROLES, "certificates", "monitoring")
    with (
        _operator() as (webhook, told),
        machine(base, "mon1", "127.0.1.51") as reader,
        machine(base, "app1", "127.0.1.52") as worker,
    ):
        reader.run(_DATABASE)
        worker.run(_WORKER)
        control.write(_inventory((reader, worker), webhook))
        first = control.play(_ROLES)
        assert first.code == 0, first.output
        yield Site(reader, worker, control, told)


def _wait(look: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it did not come"
        time.sleep(1)


def test_both_hosts_are_read(site: Site) -> None:
    def seen() -> dict[str, str]:
        targets = site.ask("/api/v1/targets")["activeTargets"]
        return {
            f"{each['labels']['job']} {each['labels']['instance']}": each["lastError"]
            or each["health"]
            for each in targets
        }

    expected = {
        "node mon1": "up",
        "node app1": "up",
        "consumers app1": "up",
        "postgresql mon1": "up",
    }
    # They are found one after the other, and read once a while later.
    _wait(lambda: len(seen()) == len(expected) and "unknown" not in seen().values(), 60)
    assert seen() == expected
    assert site.ask("/api/v1/query?query=pg_up")["result"][0]["value"][1] == "1"


def test_all_rules_are_loaded(site: Site) -> None:
    groups = site.ask("/api/v1/rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 15
    assert all(rule["health"] in {"ok", "unknown"} for rule in rules)


def test_the_end_of_certificates_is_known(site: Site) -> None:
    query = "/api/v1/query?query=dropscribe_certificate_expires_timestamp_seconds-time()"
    seconds_left: list[float] = []

    def known() -> bool:
        seconds_left[:] = [float(each["value"][1]) for each in site.ask(query)["result"]]
        return len(seconds_left) == 4

    _wait(known, 60)
    assert min(seconds_left) > 300 * 86400


def test_metrics_are_closed_to_other_clients(site: Site) -> None:
    ask = (
        "python3 - <<'EOF'\n"
        "import ssl, urllib.request\n"
        "context = ssl.create_default_context(cafile='/etc/dropscribe/ca.pem')\n"
        "{own}\n"
        "url = 'https://127.0.1.52:9998/proxy?module=node'\n"
        "print(urllib.request.urlopen(url, context=context).status)\n"
        "EOF"
    )
    tls = "/etc/dropscribe/tls"
    own = f"context.load_cert_chain('{tls}/certificate.pem', '{tls}/key.pem')"
    assert site.reader.run(ask.format(own=own)).out == "200\n"
    # No certificate; and one of the same authority that is not a reader's.
    assert site.reader.run(ask.format(own=""), check=False).code != 0
    assert site.worker.run(ask.format(own=own), check=False).code != 0


def test_services_without_tls_listen_on_loopback_alone(site: Site) -> None:
    listening = site.worker.run("ss -Hltn").out
    ours = [line.split()[3] for line in listening.splitlines() if "127.0.5." in line]
    assert {address.rpartition(":")[2] for address in ours} >= {"9100", "9464", "9090", "9093"}
    for port in ("9100", "9187", "9090", "9093"):
        assert f"0.0.0.0:{port}" not in listening
        assert f"*:{port}" not in listening


def test_secrets_are_in_files_of_their_own(site: Site) -> None:
    path = "/etc/prometheus/alertmanager.yml"
    assert site.reader.run(f"stat -c '%a %U' {path}").out == "600 prometheus\n"
    assert site.reader.run("grep -rlF secret-path /etc || true").out == f"{path}\n"


def test_the_operator_is_told(site: Site) -> None:
    """Nobody runs `dropscribe health` here, so alerts say that its figures are missing."""

    def alerts() -> dict[str, Any]:
        posted = [alert for post in site.told for alert in post["alerts"]]
        return {alert["labels"]["alertname"]: alert for alert in posted}

    _wait(lambda: "HealthStale" in alerts(), 240)
    told = alerts()["HealthStale"]
    assert told["labels"]["severity"] == "critical"
    assert told["annotations"]["runbook"] == "ops/README.md#healthstale"


def test_a_second_run_changes_nothing(site: Site) -> None:
    again = site.control.play(_ROLES, "--diff")
    assert (again.code, again.changed) == (0, []), again.output
    assert "secret-path" not in again.output
    # And a check says so, too.
    check = site.control.play(_ROLES, "--check", "--diff")
    assert (check.code, check.changed) == (0, []), check.output
