"""Where the object store, the broker and the database are."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, PlainValidator, model_validator

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError
from events.routes import ROUTES
from ops.wiring.cleartext import check_database_url, check_url
from ops.wiring.environment import Environment, SettingError
from ops.wiring.settings.declaration import Form, Settings, count, matching, problem, setting
from ops.wiring.settings.values import AbsolutePath, ExistingFile, Whole

_ENDPOINT = re.compile(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:\d{1,5})?/?", re.ASCII)
_PRINCIPAL = re.compile(r"(?P<role>[a-z]+)=(?P<principal>[^,\s]+)")

StoreKind = Literal["aws", "minio", "ceph", "rustfs"]
STORE_KINDS: tuple[StoreKind, ...] = ("aws", "minio", "ceph", "rustfs")

#: The roles that ``S3_PRINCIPALS`` can give: those of the stages, and those of people.
STORE_ROLES = (*(route.name for route in ROUTES), "reviewer", "drop", "transfer", "operator")


class CleartextSettings(Settings):
    """Whether connections to other hosts may go unencrypted."""

    title = "Encryption"

    # Checked only where it matters, by ops.wiring.cleartext.
    allow_cleartext: Annotated[str, Form("0 or 1")] = setting(
        "ALLOW_CLEARTEXT",
        "1 allows unencrypted connections to other hosts, for a private network",
        default="0",
    )


class RegionSettings(Settings):
    """The region, which the bucket and SQS share."""

    title = "Object store"

    region: Annotated[
        str, matching("[a-z0-9-]+"), Form("lowercase letters, digits and hyphens")
    ] = setting("S3_REGION", "Region of the bucket, and of SQS", default="us-east-1")


class StoreSettings(RegionSettings, CleartextSettings):
    """The object store and the bucket."""

    title = "Object store"

    endpoint: str | None = setting(
        "S3_ENDPOINT", "URL of the object store", default=None, shown="AWS"
    )
    access_key: str | None = setting(
        "S3_ACCESS_KEY",
        "Access key of the object store",
        default=None,
        shown="on AWS, the instance's role or AWS' own variables",
    )
    secret_key: str | None = setting(
        "S3_SECRET_KEY", "Secret key that goes with S3_ACCESS_KEY", default=None, secret=True
    )
    # Amazon S3 user guide, "Bucket naming rules".
    bucket: Annotated[
        str,
        matching("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
        Form("3 to 63 lowercase letters, digits, dots and hyphens"),
    ] = setting("S3_BUCKET", "Name of the bucket", default="audio-pipeline")
    ca_file: ExistingFile | None = setting(
        "S3_CA_FILE",
        "Certificates to trust for the object store, a PEM file",
        default=None,
        shown="those that the system trusts",
    )
    timeout: Whole = count("S3_TIMEOUT", "Read timeout of the object store, in seconds", default=60)

    @model_validator(mode="after")
    def _check_store(self) -> Self:
        if self.endpoint is not None:
            if not _ENDPOINT.fullmatch(self.endpoint):
                raise SettingError(
                    f"S3_ENDPOINT={without_user(self.endpoint)!r} is invalid: must be an "
                    "http:// or https:// URL of a host alone"
                )
            check_url("S3_ENDPOINT", self.endpoint, self.endpoint, allow=self.allow_cleartext)
            keys = {"S3_ACCESS_KEY": self.access_key, "S3_SECRET_KEY": self.secret_key}
            for name, value in keys.items():
                if value is None:
                    raise SettingError(f"{name} is not set, but S3_ENDPOINT is")
        if (self.access_key is None) != (self.secret_key is None):
            raise SettingError("S3_ACCESS_KEY and S3_SECRET_KEY go together, but only one is set")
        return self


def without_user(url: str) -> str:
    """Leave out of a URL the user and password that it may hold."""
    return f"...@{url.rpartition('@')[2]}" if "@" in url else url


class BrokerSettings(RegionSettings, CleartextSettings):
    """The message broker."""

    title = "Message broker"

    url: str = setting(
        "BROKER_URL",
        "amqps://USER:PASSWORD@HOST/VHOST for RabbitMQ; sqs:// for AWS; "
        "sqs+tls://KEY:SECRET@HOST:PORT for another SQS",
        secret=True,
        example="sqs://",
    )
    prefix: Annotated[
        str,
        matching("[A-Za-z0-9_-]{1,40}"),
        Form("1 to 40 letters, digits, hyphens and underscores"),
    ] = setting("BROKER_PREFIX", "Prefix of the queues' names", default="dropscribe")
    ca_file: ExistingFile | None = setting(
        "BROKER_CA_FILE",
        "Certificates to trust for the broker, a PEM file",
        default=None,
        shown="those that the system trusts",
    )

    @property
    def address(self) -> BrokerAddress:
        """Where the broker is."""
        return BrokerAddress.parse(
            self.url, region=self.region, prefix=self.prefix, ca_file=self.ca_file
        )

    @model_validator(mode="after")
    def _check_broker(self) -> Self:
        check_url("BROKER_URL", self.url, self.address.endpoint, allow=self.allow_cleartext)
        return self


def read_broker_address(environment: Environment) -> BrokerAddress:
    """Read where the broker is.

    Raises:
        ConfigurationError: A variable is missing or invalid.
    """
    return BrokerSettings.read(environment).address


class LibpqSettings(Settings):
    """libpq's variables that decide whether a connection is encrypted."""

    title = "Database"
    foreign = "libpq"

    pg_host: str | None = setting("PGHOST", "Host, if DATABASE_URL names none", default=None)
    pg_hostaddr: str | None = setting("PGHOSTADDR", "IP address, likewise", default=None)
    pg_service: str | None = setting("PGSERVICE", "Service, likewise", default=None)
    pg_sslmode: str | None = setting("PGSSLMODE", "sslmode, likewise", default=None)
    pg_sslrootcert: str | None = setting("PGSSLROOTCERT", "sslrootcert, likewise", default=None)


class DatabaseSettings(LibpqSettings, CleartextSettings):
    """PostgreSQL."""

    title = "Database"
    foreign = ""

    url: str = setting(
        "DATABASE_URL",
        "postgresql://USER:PASSWORD@HOST/NAME; to another host with "
        "?sslmode=verify-full&sslrootcert=/path/to/ca.pem",
        secret=True,
        example="postgresql://user@host/dropscribe",
    )

    @model_validator(mode="after")
    def _check_database(self) -> Self:
        if not self.url.startswith(("postgresql://", "postgres://")):
            raise SettingError("DATABASE_URL does not begin with postgresql://")
        if not _is_readable(self.url):
            # libpq's own message would quote the password, or a part of it.
            raise SettingError(
                "DATABASE_URL is invalid: / % @ : in its password must be percent-encoded "
                "(%2F %25 %40 %3A)"
            )
        libpq = {
            "host": self.pg_host,
            "hostaddr": self.pg_hostaddr,
            "service": self.pg_service,
            "sslmode": self.pg_sslmode,
            "sslrootcert": self.pg_sslrootcert,
        }
        check_database_url(self.url, libpq, allow=self.allow_cleartext)
        return self


def _is_readable(url: str) -> bool:
    """Whether libpq parses a URL, and takes no part of a password for something else.

    It parses ``p@ss`` as a password ``p`` and a host that begins with ``ss``.
    """
    authority, _, path = url.partition("?")[0].partition("//")[2].partition("/")
    try:
        ports = str(conninfo_to_dict(url).get("port") or "").split(",")
    except psycopg.ProgrammingError:
        return False
    is_numbered = all(not port or (port.isascii() and port.isdigit()) for port in ports)
    return is_numbered and authority.count("@") <= 1 and "@" not in path


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
        """Give the address at which the store reaches the broker."""
        ca_file = self.store_broker_ca_file
        return replace(
            self.store_broker or broker, ca_file=None if ca_file is None else str(ca_file)
        )

    @model_validator(mode="after")
    def _check_store_broker(self) -> Self:
        if self.store_broker is not None:
            url = self.store_broker_url or ""
            check_url(
                "STORE_BROKER_URL", url, self.store_broker.endpoint, allow=self.allow_cleartext
            )
        return self
