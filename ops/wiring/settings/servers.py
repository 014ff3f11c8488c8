"""Where store, broker and database are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from consumers.broker.address import BrokerAddress
from ops.wiring.cleartext import check_database_url, check_url
from ops.wiring.environment import Environment, SettingError

#: Amazon S3 user guide, "Bucket naming rules".
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_REGION = re.compile(r"[a-z0-9-]+")
_QUEUE_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")
_URL = re.compile(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:\d{1,5})?/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The bucket.

    ==================  ======================================================
    ``S3_ENDPOINT``     the store's URL; not set: AWS
    ``S3_ACCESS_KEY``   and ``S3_SECRET_KEY`` (or ``S3_SECRET_KEY_FILE``); not
                        set, on AWS: an instance's role, or AWS' own variables
    ``S3_BUCKET``       the bucket (``audio-pipeline``)
    ``S3_REGION``       its region (``us-east-1``)
    ``S3_CA_FILE``      certificates that the store's own has to be signed by
                        (those that the system trusts)
    ``S3_TIMEOUT``      seconds that an answer may keep us waiting (60)
    ==================  ======================================================
    """

    endpoint: str | None
    access_key: str | None
    secret_key: str | None = field(repr=False)
    bucket: str
    region: str
    ca_file: str | None
    timeout: int

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One is missing or can't be.
        """
        endpoint = environment.optional("S3_ENDPOINT")
        access_key = environment.optional("S3_ACCESS_KEY")
        secret_key = environment.secret("S3_SECRET_KEY")
        if endpoint is not None:
            _check_endpoint(environment, "S3_ENDPOINT", endpoint)
            for name, value in (("S3_ACCESS_KEY", access_key), ("S3_SECRET_KEY", secret_key)):
                if value is None:
                    raise SettingError(f"{name} is not set, but S3_ENDPOINT is")
        if (access_key is None) != (secret_key is None):
            raise SettingError("S3_ACCESS_KEY and S3_SECRET_KEY go together: only one is set")
        return cls(
            endpoint=endpoint,
            access_key=access_key,
            secret_key=secret_key,
            bucket=environment.matching("S3_BUCKET", "audio-pipeline", _BUCKET),
            region=_read_region(environment),
            ca_file=read_ca_file(environment, "S3_CA_FILE"),
            timeout=environment.integer("S3_TIMEOUT", 60),
        )


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Postgres.

    ==================  ======================================================
    ``DATABASE_URL``    ``postgresql://USER:PASSWORD@HOST/NAME`` (or
                        ``DATABASE_URL_FILE``); to another host by TLS:
                        ``?sslmode=verify-full&sslrootcert=/path/to/ca.pem``,
                        or what else libpq knows
    ==================  ======================================================
    """

    url: str = field(repr=False)

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variable.

        Raises:
            SettingError: It is missing or can't be.
        """
        url = environment.required_secret("DATABASE_URL", "postgresql://user@host/dropscribe")
        if not url.startswith(("postgresql://", "postgres://")):
            raise SettingError("DATABASE_URL does not begin with postgresql://")
        if not _is_readable(url):
            # What libpq says would quote the password, or a part of it.
            raise SettingError(
                "DATABASE_URL can't be read: / % @ : in its password have to be percent-encoded "
                "(%2F %25 %40 %3A)"
            )
        check_database_url(environment, url)
        return cls(url)


def _is_readable(url: str) -> bool:
    """Tell whether libpq can make sense of a URL, and not by taking a password for something else.

    It takes ``p@ss`` for a password ``p`` and a host that begins with ``ss``.
    """
    authority, _, path = url.partition("?")[0].partition("//")[2].partition("/")
    try:
        ports = str(conninfo_to_dict(url).get("port") or "").split(",")
    except psycopg.ProgrammingError:
        return False
    is_numbered = all(not port or (port.isascii() and port.isdigit()) for port in ports)
    return is_numbered and authority.count("@") <= 1 and "@" not in path


def read_broker_address(environment: Environment) -> BrokerAddress:
    """Read where the broker is.

    =====================  ===================================================
    ``BROKER_URL``         ``amqps://USER:PASSWORD@HOST/VHOST`` for RabbitMQ,
                           ``sqs://`` for AWS, ``sqs://KEY:SECRET@HOST:PORT``
                           for another SQS (or ``BROKER_URL_FILE``)
    ``BROKER_PREFIX``      what the queues' names begin with (``dropscribe``)
    ``BROKER_CA_FILE``     certificates that the broker's own has to be signed by
                           (those that the system trusts)
    =====================  ===================================================

    Raises:
        SettingError: One is missing or can't be.
    """
    url = environment.required_secret("BROKER_URL", "sqs://")
    address = BrokerAddress.parse(
        url,
        region=_read_region(environment),
        prefix=environment.matching("BROKER_PREFIX", "dropscribe", _QUEUE_PREFIX),
        ca_file=read_ca_file(environment, "BROKER_CA_FILE"),
    )
    check_url(environment, "BROKER_URL", url.partition(":")[0].lower(), address.endpoint)
    return address


def _read_region(environment: Environment) -> str:
    return environment.matching("S3_REGION", "us-east-1", _REGION)


def read_ca_file(environment: Environment, name: str) -> str | None:
    """Read the file of the certificates to trust; None for those that the system trusts.

    Raises:
        SettingError: There is no such file.
    """
    path = environment.path(name)
    if path is None:
        return None
    if not path.is_file():
        raise SettingError(f"{name}={str(path)!r} is not a file")
    return str(path)


def _check_endpoint(environment: Environment, name: str, value: str) -> None:
    if not _URL.fullmatch(value):
        # Its user's password, should it have one, is nobody's business.
        shown = f"...@{value.rpartition('@')[2]}" if "@" in value else value
        raise SettingError(f"{name}={shown!r} is not an http:// or https:// URL of a host alone")
    check_url(environment, name, value.partition(":")[0], value)
