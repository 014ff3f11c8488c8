"""Two hosts that site.yml made: one for all servers and CPU work, one that transcribes.

The store is one that exists: Ceph on the control machine, by TLS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from events.keys import TRANSCRIPT, BatchId
from ops.wiring.adapters import make_store
from ops.wiring.environment import Environment
from tests.harness.polling import eventually
from tests.hosts.control import Control, Played, reached
from tests.hosts.machine import SSH_PORT, Debian, Machine, machine
from tests.hosts.premises import (
    USERS,
    ExistingStore,
    authority_of,
    models,
    on_shared_loopback,
    password,
    store,
)

T = TypeVar("T")

_ROUTES = ("unpack", "transcribe", "moderate", "review")
_ADDRESSES = {"cpu1": "127.0.1.34", "gpu1": "127.0.1.35"}
_EPMD_PORT = 24370


@dataclass(frozen=True, slots=True)
class HostDeployment:
    """The hosts that ``site.yml`` made.

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

    def run(self, *arguments: str, timeout: float = 600.0) -> subprocess.CompletedProcess[str]:
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
        """The progress of a batch; empty while it is unknown."""
        done = self.run("status", batch, "--json")
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def complete(self, batch: str, seconds: float = 180.0) -> dict[str, Any]:
        """Wait until a batch is complete."""

        def look() -> dict[str, Any] | None:
            status = self.status(batch)
            return status if status.get("state") == "complete" else None

        return eventually(look, seconds, pause=1.0, told=self._told)

    def transcribed(self, batch: str) -> int:
        """Count the transcripts of a batch in the bucket, as a command would take seconds."""
        store = make_store(Environment(dict(self._settings)))
        return sum(key.endswith(TRANSCRIPT) for key in store.keys(BatchId(batch).prefix))

    def _told(self) -> str:
        journal = "journalctl --no-pager --quiet --lines 40 --unit 'dropscribe*'"
        return "\n".join(f"{host.name}:\n{host.run(journal).out}" for host in self.hosts)


@contextmanager
def deployed(base: Debian, folder: Path) -> Iterator[HostDeployment]:
    """Boot two fresh hosts, and run ``site.yml`` on them from nothing."""
    control = Control(folder / "control")
    control.folder.mkdir()
    source = models(control.folder / "models")
    with (
        store(folder, authority_of(control)) as bucket,
        machine(base, "cpu1", _ADDRESSES["cpu1"]) as cpu,
        machine(base, "gpu1", _ADDRESSES["gpu1"]) as gpu,
    ):
        hidden = _secrets(bucket)
        variables = {
            **hidden,
            **bucket.variables,
            **on_shared_loopback(_EPMD_PORT),
            **_variables(base),
            "gpu_worker_models_source": str(source),
        }
        control.write(_hosts(cpu, gpu), variables)
        base.lend_packages(gpu)
        began = time.monotonic()
        first = control.play("site.yml")
        assert first.code == 0, first.output[-6000:]
        base.keep_packages(gpu)
        passwords = [
            *hidden["dropscribe_broker_passwords"].values(),
            *hidden["dropscribe_database_passwords"].values(),
            *(each["secret_key"] for each in bucket.keys.values()),
        ]
        yield HostDeployment(
            control,
            cpu,
            gpu,
            passwords,
            first,
            time.monotonic() - began,
            _operator(control, hidden, bucket),
        )


def _hosts(cpu: Machine, gpu: Machine) -> dict[str, Any]:
    servers: dict[str, Any] = {"hosts": {cpu.name: None}}
    heard: dict[str, Any] = {"hosts": {gpu.name: None}}
    return {
        "all": {
            "hosts": {host.name: reached(host) for host in (cpu, gpu)},
            "children": {
                "brokers": servers,
                "databases": servers,
                "stores": {},
                "operators": servers,
                "consumers": {**servers, "children": {"gpu_workers": heard}},
                "transfer": servers,
                "monitoring": {},
            },
        }
    }


def _secrets(bucket: ExistingStore) -> dict[str, Any]:
    return {
        "dropscribe_broker_passwords": {
            name: password() for name in (*_ROUTES, "operator", "bootstrap", "store")
        },
        "dropscribe_database_passwords": {
            name: password() for name in (*_ROUTES, "operator", "bootstrap")
        },
        "dropscribe_store_keys": bucket.keys,
        "dropscribe_store_principals": {
            **{name: f"arn:aws:iam:::user/{name}" for name in USERS},
            "drop": "arn:aws:iam:::user/operator",
        },
    }


def _variables(base: Debian) -> dict[str, Any]:
    return {
        "consumer_host_workers": "{{ {'transcribe': 1} if 'gpu_workers' in group_names"
        " else {'unpack': 2, 'review': 1} }}",
        "consumer_host_route_environment": {
            "transcribe": {
                "WHISPER_MODEL": "tiny.en",
                "WHISPER_DEVICE": "cpu",
                # One at a time, so that there is a middle of a batch.
                "TRANSCRIBE_GROUP": "1",
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
    }


def _operator(control: Control, hidden: Mapping[str, Any], bucket: ExistingStore) -> dict[str, str]:
    """The settings of an operator's commands on the control machine."""
    broker, database = (
        quote(hidden[name]["operator"], safe="")
        for name in ("dropscribe_broker_passwords", "dropscribe_database_passwords")
    )
    keys = bucket.keys["operator"]
    authority = authority_of(control)
    cpu = _ADDRESSES["cpu1"]
    return {
        "S3_ENDPOINT": bucket.endpoint,
        "S3_CA_FILE": str(bucket.authority),
        "S3_ACCESS_KEY": keys["access_key"],
        "S3_SECRET_KEY": keys["secret_key"],
        "BROKER_URL": f"amqps://operator:{broker}@{cpu}:5671/dropscribe",
        "BROKER_CA_FILE": str(authority),
        "DATABASE_URL": f"postgresql://operator:{database}@{cpu}:5432/dropscribe"
        f"?sslmode=verify-full&sslrootcert={authority}",
    }
