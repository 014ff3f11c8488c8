"""All settings, by the variables that hold them. Each command reads what it needs."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from consumers.broker.address import BrokerAddress
from ops.environment import Environment, SettingError

#: Amazon S3 user guide, "Bucket naming rules".
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_REGION = re.compile(r"[a-z0-9-]+")
_DELAYS = re.compile(r"\d{1,5}(\.\d{1,3})?(,\d{1,5}(\.\d{1,3})?){0,9}", re.ASCII)
_QUEUE_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")
_URL = re.compile(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:\d{1,5})?/?", re.ASCII)

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
            _check_url("S3_ENDPOINT", endpoint)
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
                        ``DATABASE_URL_FILE``)
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
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # What libpq says would quote the password.
            raise SettingError(
                "DATABASE_URL can't be read: / % @ : in its password have to be percent-encoded "
                "(%2F %25 %40 %3A)"
            ) from None
        return cls(url)


def read_broker_address(environment: Environment) -> BrokerAddress:
    """Read where the broker is.

    =====================  ===================================================
    ``BROKER_URL``         ``amqps://USER:PASSWORD@HOST/VHOST`` for RabbitMQ,
                           ``sqs://`` for AWS, ``sqs://KEY:SECRET@HOST:PORT``
                           for another SQS (or ``BROKER_URL_FILE``)
    ``BROKER_PREFIX``      what the queues' names begin with (``dropscribe``)
    ``BROKER_CA_FILE``     certificates that RabbitMQ's own has to be signed by
                           (those that the system trusts)
    =====================  ===================================================

    Raises:
        SettingError: One is missing or can't be.
    """
    return BrokerAddress.parse(
        environment.required_secret("BROKER_URL", "sqs://"),
        region=_read_region(environment),
        prefix=environment.matching("BROKER_PREFIX", "dropscribe", _QUEUE_PREFIX),
        ca_file=_read_ca_file(environment, "BROKER_CA_FILE"),
    )


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


def _check_url(name: str, value: str) -> None:
    if not _URL.fullmatch(value):
        raise SettingError(f"{name}={value!r} is not an http:// or https:// URL")


def _cores() -> int:
    return len(os.sched_getaffinity(0))
