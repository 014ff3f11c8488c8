"""How ``dropscribe bootstrap`` sets up the object store."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, PlainValidator, model_validator

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError
from events.routes import ROUTES
from ops.wiring.cleartext import check_url
from ops.wiring.environment import SettingError
from ops.wiring.settings.declaration import Form, problem, setting
from ops.wiring.settings.servers import CleartextSettings
from ops.wiring.settings.values import AbsolutePath

_PRINCIPAL = re.compile(r"(?P<role>[a-z]+)=(?P<principal>[^,\s]+)")

StoreKind = Literal["aws", "minio", "ceph", "rustfs"]
STORE_KINDS: tuple[StoreKind, ...] = ("aws", "minio", "ceph", "rustfs")

#: The roles that ``S3_PRINCIPALS`` can give: those of the stages, and those of people.
STORE_ROLES = (*(route.name for route in ROUTES), "reviewer", "drop", "transfer", "operator")


def _store_broker_url(url: str) -> str:
    try:
        address = BrokerAddress.parse(url, region="", prefix="")
    except ConfigurationError as exc:
        message = str(exc).replace("BROKER_URL", "STORE_BROKER_URL", 1)
    else:
        if address.is_amqp:
            return url
        message = "STORE_BROKER_URL does not begin with amqp:// or amqps://"
    # Outside of the block: a traceback would show the other variable's error, too.
    raise SettingError(message)


def _days(text: str) -> int | None:
    if text == "off":
        return None
    days = int(text)
    if not 1 <= days <= 36_500:  # noqa: PLR2004
        raise ValueError
    return days


def _principals(text: str) -> dict[str, tuple[str, ...]]:
    principals: dict[str, tuple[str, ...]] = {}
    for part in text.split(",") if text else ():
        match = _PRINCIPAL.fullmatch(part.strip())
        if match is None or match["role"] not in STORE_ROLES:
            roles = ", ".join(STORE_ROLES)
            raise problem(
                f"is invalid: {part.strip()!r} is not ROLE=WHO with one of the roles {roles}"
            )
        principals[match["role"]] = (*principals.get(match["role"], ()), match["principal"])
    return principals


class BootstrapSettings(CleartextSettings):
    """How ``dropscribe bootstrap`` sets up the object store."""

    title = "Bootstrap"

    store_kind: StoreKind | None = setting(
        "STORE_KIND",
        "Kind of the object store; --store takes precedence",
        default=None,
        shown="guessed from its answers",
    )
    store_broker_url: Annotated[str, AfterValidator(_store_broker_url)] | None = setting(
        "STORE_BROKER_URL",
        "RabbitMQ as the object store reaches it",
        default=None,
        shown="BROKER_URL",
        secret=True,
    )
    store_broker_ca_file: AbsolutePath | None = setting(
        "STORE_BROKER_CA_FILE",
        "Certificates that the object store trusts for RabbitMQ, a PEM file on its host",
        default=None,
        shown="the object store's own",
    )
    queue_dir: AbsolutePath | None = setting(
        "STORE_QUEUE_DIR",
        "Folder on the host of MinIO or RustFS for events that RabbitMQ has not confirmed",
        default=None,
        shown="/var/lib/minio/events or /opt/rustfs/events",
    )
    ceph_ack_level: Literal["broker", "none"] = setting(
        "CEPH_ACK_LEVEL",
        "Whether Ceph waits for RabbitMQ's confirmation; Ceph 16.2 crashes with broker",
        default="none",
    )
    retention_days: Annotated[
        int | None, PlainValidator(_days), Form("a whole number from 1 to 36500, or off")
    ] = setting(
        "RETENTION_DAYS", "Days until the archive of a complete batch expires, or off", default="7"
    )
    retention_days_with_losses: Annotated[
        int | None, PlainValidator(_days), Form("a whole number from 1 to 36500, or off")
    ] = setting(
        "RETENTION_DAYS_WITH_LOSSES",
        "Days until the archive of a complete batch expires of which something is missing from the "
        "result, or off; not before RETENTION_DAYS",
        default="off",
    )
    principals: Annotated[dict[str, tuple[str, ...]], PlainValidator(_principals)] = setting(
        "S3_PRINCIPALS",
        "Who gets which rights in the bucket, as ROLE=WHO,...: ARNs, or users on MinIO and "
        f"RustFS; the roles are {', '.join(STORE_ROLES)}",
        default="",
        shown="nobody",
    )

    @property
    def store_broker(self) -> BrokerAddress | None:
        """RabbitMQ as the store reaches it, if it does so in a way of its own."""
        if self.store_broker_url is None:
            return None
        return BrokerAddress.parse(self.store_broker_url, region="", prefix="")

    def broker_of_store(self, broker: BrokerAddress) -> BrokerAddress:
        """Return the address at which the store reaches the broker."""
        ca_file = self.store_broker_ca_file
        return replace(
            self.store_broker or broker, ca_file=None if ca_file is None else str(ca_file)
        )

    @model_validator(mode="after")
    def _check_retention(self) -> Self:
        longer, days = self.retention_days_with_losses, self.retention_days
        if longer is not None and (days is None or longer < days):
            raise SettingError(
                f"RETENTION_DAYS_WITH_LOSSES is {longer}, and must be at least RETENTION_DAYS, "
                f"which is {'off' if days is None else days}: archives with losses are the last "
                "copy of what is missing"
            )
        return self

    @model_validator(mode="after")
    def _check_store_broker(self) -> Self:
        if self.store_broker is not None:
            url = self.store_broker_url or ""
            check_url(
                "STORE_BROKER_URL", url, self.store_broker.endpoint, allow=self.allow_cleartext
            )
        return self
