"""What bootstrap is told of the store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal, Self

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError
from ops.wiring.cleartext import check_url
from ops.wiring.environment import Environment, SettingError

_CEPH_ACK_LEVEL = re.compile(r"broker|none")
_PRINCIPAL = re.compile(r"(?P<role>[a-z]+)=(?P<principal>[^,\s]+)")

StoreKind = Literal["aws", "minio", "ceph", "rustfs"]
STORE_KINDS: tuple[StoreKind, ...] = ("aws", "minio", "ceph", "rustfs")

#: To whom the bucket's rights are given, each no more than what it does.
STORE_ROLES = (
    "unpack",
    "transcribe",
    "moderate",
    "review",
    "reviewer",
    "drop",
    "transfer",
    "operator",
)


@dataclass(frozen=True, slots=True)
class BootstrapSettings:
    """What ``dropscribe bootstrap`` is told of the store, besides where it is.

    ========================  ================================================
    ``STORE_KIND``            ``aws``, ``minio``, ``ceph`` or ``rustfs``
                              (guessed from its answers)
    ``STORE_BROKER_URL``      RabbitMQ as the store reaches it (or
                              ``STORE_BROKER_URL_FILE``; ``BROKER_URL``)
    ``STORE_BROKER_CA_FILE``  certificates that RabbitMQ's own has to be signed
                              by: a path on the store's host (those that the
                              store trusts)
    ``STORE_QUEUE_DIR``       a folder on the host of MinIO or RustFS, for events
                              that RabbitMQ has not confirmed
                              (``/var/lib/minio/events``,
                              ``/opt/rustfs/events``)
    ``CEPH_ACK_LEVEL``        what a Ceph gateway waits for when it hands an event
                              to RabbitMQ: ``broker`` (its confirmation) or
                              ``none`` (none; Ceph 16.2 crashes of the other)
    ``RETENTION_DAYS``        days after which the archive of a complete batch
                              expires (7), or ``off``
    ``S3_PRINCIPALS``         who gets which role's rights in the bucket:
                              ``unpack=WHO,transcribe=WHO,...``, with a role of
                              `STORE_ROLES` each; WHO is an ARN, on MinIO and
                              RustFS a user (nobody)
    ========================  ================================================
    """

    store_kind: StoreKind | None
    store_broker: BrokerAddress | None
    store_broker_ca_file: str | None
    queue_dir: PurePosixPath | None
    ceph_ack_level: str
    retention_days: int | None
    principals: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One can't be.
        """
        ca_file = environment.path("STORE_BROKER_CA_FILE")
        queue_dir = environment.path("STORE_QUEUE_DIR")
        keeps_all = environment.optional("RETENTION_DAYS") == "off"
        return cls(
            store_kind=_read_store_kind(environment),
            store_broker=_read_store_broker(environment),
            store_broker_ca_file=None if ca_file is None else str(ca_file),
            queue_dir=None if queue_dir is None else PurePosixPath(queue_dir),
            ceph_ack_level=environment.matching("CEPH_ACK_LEVEL", "none", _CEPH_ACK_LEVEL),
            retention_days=None
            if keeps_all
            else environment.integer("RETENTION_DAYS", 7, most=36_500),
            principals=_read_principals(environment),
        )

    def broker_of_store(self, broker: BrokerAddress) -> BrokerAddress:
        """Say how the store reaches the broker that we reach at ``broker``."""
        return replace(self.store_broker or broker, ca_file=self.store_broker_ca_file)


def _read_store_kind(environment: Environment) -> StoreKind | None:
    text = environment.optional("STORE_KIND")
    for kind in STORE_KINDS:
        if text == kind:
            return kind
    if text is None:
        return None
    raise SettingError(f"STORE_KIND={text!r} is none of {', '.join(STORE_KINDS)}")


def _read_store_broker(environment: Environment) -> BrokerAddress | None:
    url = environment.secret("STORE_BROKER_URL")
    if url is None:
        return None
    try:
        address = BrokerAddress.parse(url, region="", prefix="")
    except ConfigurationError as exc:
        raise SettingError(str(exc).replace("BROKER_URL", "STORE_BROKER_URL", 1)) from None
    check_url(environment, "STORE_BROKER_URL", url.partition(":")[0].lower(), address.endpoint)
    if not address.is_amqp:
        raise SettingError("STORE_BROKER_URL does not begin with amqp:// or amqps://")
    return address


def _read_principals(environment: Environment) -> dict[str, tuple[str, ...]]:
    principals: dict[str, tuple[str, ...]] = {}
    text = environment.optional("S3_PRINCIPALS")
    for part in text.split(",") if text else ():
        match = _PRINCIPAL.fullmatch(part.strip())
        if match is None or match["role"] not in STORE_ROLES:
            raise SettingError(
                f"S3_PRINCIPALS: {part.strip()!r} is not ROLE=WHO with one of the roles "
                f"{', '.join(STORE_ROLES)}"
            )
        principals[match["role"]] = (*principals.get(match["role"], ()), match["principal"])
    return principals
