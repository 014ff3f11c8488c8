"""All settings, by the variables that hold them. Each command reads what it needs.

What leads to another host has to be encrypted, unless ``ALLOW_CLEARTEXT`` is 1:
for a network of one's own.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError
from ops.cleartext import check_database_url, check_url
from ops.environment import Environment, SettingError

#: Amazon S3 user guide, "Bucket naming rules".
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_CEPH_ACK_LEVEL = re.compile(r"broker|none")
_REGION = re.compile(r"[a-z0-9-]+")
_DELAYS = re.compile(r"\d{1,5}(\.\d{1,3})?(,\d{1,5}(\.\d{1,3})?){0,9}", re.ASCII)
_QUEUE_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")
_PRINCIPAL = re.compile(r"(?P<role>[a-z]+)=(?P<principal>[^,\s]+)")
_URL = re.compile(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:\d{1,5})?/?", re.ASCII)

StoreKind = Literal["aws", "minio", "ceph", "rustfs"]
STORE_KINDS: tuple[StoreKind, ...] = ("aws", "minio", "ceph", "rustfs")

#: To whom the bucket's rights are given, each no more than what it does.
STORE_ROLES = ("unpack", "transcribe", "drop", "operator")

#: What `WHISPER_MODEL` is on the embedded stack: tiny.en, from a Python package.
PACKAGED_MODEL = "packaged:tiny.en"


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
            ca_file=_read_ca_file(environment, "S3_CA_FILE"),
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
        ca_file=_read_ca_file(environment, "BROKER_CA_FILE"),
    )
    check_url(environment, "BROKER_URL", url.partition(":")[0].lower(), address.endpoint)
    return address


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
                              ``unpack=WHO,transcribe=WHO,drop=WHO,operator=WHO``;
                              each is an ARN, on MinIO and RustFS a user (nobody)
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


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How deliveries are taken, and tried again.

    ===========================  =============================================
    ``RETRY_DELAYS``             seconds to wait after each failed attempt;
                                 after the last it is a dead letter
                                 (``10,60,600``)
    ``BROKER_HEARTBEAT``         seconds between heartbeats to RabbitMQ (30)
    ``BROKER_CONSUMER_TIMEOUT``  RabbitMQ's ``consumer_timeout`` in seconds
                                 (1800): longer work renews its hold before
    ===========================  =============================================
    """

    delays: tuple[float, ...]
    heartbeat: int
    consumer_timeout: int

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One can't be.
        """
        text = environment.matching("RETRY_DELAYS", "10,60,600", _DELAYS)
        return cls(
            delays=tuple(float(part) for part in text.split(",")),
            heartbeat=environment.integer("BROKER_HEARTBEAT", 30, least=2),
            consumer_timeout=environment.integer("BROKER_CONSUMER_TIMEOUT", 1800, least=10),
        )


@dataclass(frozen=True, slots=True)
class UnpackSettings:
    """How archives are unpacked.

    =====================  ===================================================
    ``SCRATCH_ROOT``       a folder for files in work (the system's temporary
                           folder); each is gone when its recording is stored
    ``UNPACK_PROCESSES``   transcoding processes (one per core)
    ``OPUS_BIT_RATE``      bits per second (24000)
    ``SILENCE_DBFS``       a recording without a second louder than this is
                           silent (-60)
    =====================  ===================================================
    """

    scratch_root: Path
    processes: int
    opus_bit_rate: int
    silence_dbfs: float

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One can't be.
        """
        return cls(
            scratch_root=read_scratch_root(environment),
            processes=environment.integer("UNPACK_PROCESSES", _cores()),
            opus_bit_rate=environment.integer("OPUS_BIT_RATE", 24_000, least=6_000, most=256_000),
            silence_dbfs=environment.number("SILENCE_DBFS", -60.0),
        )


@dataclass(frozen=True, slots=True)
class SpeechSettings:
    """How recordings are transcribed.

    ========================  ================================================
    ``WHISPER_MODEL``         a name (``large-v3``), a path, a folder under
                              ``MODELS_ROOT``, or ``packaged:tiny.en``
    ``MODELS_ROOT``           where models lie, and are downloaded to
                              (``~/.local/share/dropscribe/models``)
    ``WHISPER_DEVICE``        ``auto``, ``cpu`` or ``cuda`` (auto)
    ``WHISPER_COMPUTE_TYPE``  CTranslate2's (int8 on a CPU, float16 on a GPU)
    ``WHISPER_BATCH_SIZE``    windows per batch (16)
    ``WHISPER_THREADS``       of the CPU (one per core)
    ``TRANSCRIBE_GROUP``      recordings per group (32)
    ========================  ================================================
    """

    scratch_root: Path
    model: str
    models_root: Path
    device: str
    compute_type: str | None
    batch_size: int
    threads: int
    group: int

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One can't be.
        """
        device = environment.text("WHISPER_DEVICE", "auto")
        if device not in {"auto", "cpu", "cuda"}:
            raise SettingError(f"WHISPER_DEVICE={device!r} is not auto, cpu or cuda")
        return cls(
            scratch_root=read_scratch_root(environment),
            model=environment.text("WHISPER_MODEL", "large-v3"),
            models_root=environment.path("MODELS_ROOT")
            or Path("~/.local/share/dropscribe/models").expanduser(),
            device=device,
            compute_type=environment.optional("WHISPER_COMPUTE_TYPE"),
            batch_size=environment.integer("WHISPER_BATCH_SIZE", 16),
            threads=environment.integer("WHISPER_THREADS", _cores()),
            group=environment.integer("TRANSCRIBE_GROUP", 32),
        )


def read_scratch_root(environment: Environment) -> Path:
    """Read where files in work go.

    Raises:
        SettingError: It is no folder that can be written to.
    """
    root = environment.path("SCRATCH_ROOT") or Path(tempfile.gettempdir())
    if not root.is_dir():
        raise SettingError(f"SCRATCH_ROOT={str(root)!r} is not a folder")
    if not os.access(root, os.W_OK | os.X_OK):
        raise SettingError(f"SCRATCH_ROOT={str(root)!r} can't be written to")
    return root


def _read_region(environment: Environment) -> str:
    return environment.matching("S3_REGION", "us-east-1", _REGION)


def _read_ca_file(environment: Environment, name: str) -> str | None:
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


def _cores() -> int:
    return len(os.sched_getaffinity(0))
