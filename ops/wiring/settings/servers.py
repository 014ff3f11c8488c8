"""Where the object store, the broker and the database are, and how deliveries are taken."""

from __future__ import annotations

import re
from typing import Annotated, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import PlainValidator, model_validator

from consumers.broker.address import BrokerAddress
from ops.wiring.cleartext import check_database_url, check_url
from ops.wiring.environment import Environment, SettingError
from ops.wiring.settings.declaration import Form, Settings, count, matching, setting
from ops.wiring.settings.values import ExistingFile, Whole

_DELAYS = re.compile(r"\d{1,5}(\.\d{1,3})?(,\d{1,5}(\.\d{1,3})?){0,9}", re.ASCII)
_ENDPOINT = re.compile(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:\d{1,5})?/?", re.ASCII)


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


def _delays(text: str) -> tuple[float, ...]:
    if not _DELAYS.fullmatch(text):
        raise ValueError
    return tuple(float(part) for part in text.split(","))


class LoopSettings(Settings):
    """How consumers take deliveries, and retry them."""

    title = "Deliveries"

    delays: Annotated[
        tuple[float, ...],
        PlainValidator(_delays),
        Form("1 to 10 numbers of seconds, separated by commas"),
    ] = setting(
        "RETRY_DELAYS",
        "Seconds before each retry; the next failure makes a dead letter; "
        "run bootstrap after a change",
        default="10,60,600",
    )
    heartbeat: Whole = count(
        "BROKER_HEARTBEAT", "Seconds between heartbeats to RabbitMQ", default=30, least=2
    )
    consumer_timeout: Whole = count(
        "BROKER_CONSUMER_TIMEOUT",
        "RabbitMQ's consumer_timeout in seconds; longer work renews its delivery before that",
        default=1800,
        least=10,
    )


class LibpqSettings(Settings):
    """libpq's variables that decide whether a connection is encrypted."""

    title = "Database"
    foreign = "libpq"

    pg_host: str | None = setting("PGHOST", "Host, if DATABASE_URL names none", default=None)
    pg_hostaddr: str | None = setting(
        "PGHOSTADDR", "IP address, if DATABASE_URL names none", default=None
    )
    pg_service: str | None = setting(
        "PGSERVICE", "Service, if DATABASE_URL names none", default=None
    )
    pg_sslmode: str | None = setting("PGSSLMODE", "sslmode, if DATABASE_URL has none", default=None)
    pg_sslrootcert: str | None = setting(
        "PGSSLROOTCERT", "sslrootcert, if DATABASE_URL has none", default=None
    )


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
        options = ("host", "hostaddr", "service", "sslmode", "sslrootcert")
        libpq = {option: getattr(self, f"pg_{option}") for option in options}
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
