"""How consumers work."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ops.wiring.environment import Environment, SettingError

_DELAYS = re.compile(r"\d{1,5}(\.\d{1,3})?(,\d{1,5}(\.\d{1,3})?){0,9}", re.ASCII)

#: What `WHISPER_MODEL` is on the embedded stack: tiny.en, from a Python package.
PACKAGED_MODEL = "packaged:tiny.en"


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
    ``OPUS_COMPLEXITY``    how hard the encoder works, from 0 to 10 (6)
    ``SILENCE_DBFS``       a recording without a second louder than this is
                           silent (-60)
    =====================  ===================================================
    """

    scratch_root: Path
    processes: int
    opus_bit_rate: int
    opus_complexity: int
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
            opus_complexity=environment.integer("OPUS_COMPLEXITY", 6, least=0, most=10),
            silence_dbfs=read_silence_dbfs(environment),
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
            models_root=read_models_root(environment),
            device=device,
            compute_type=environment.optional("WHISPER_COMPUTE_TYPE"),
            batch_size=environment.integer("WHISPER_BATCH_SIZE", 16),
            threads=environment.integer("WHISPER_THREADS", _cores()),
            group=environment.integer("TRANSCRIBE_GROUP", 32),
        )


def read_models_root(environment: Environment) -> Path:
    """Read where models lie.

    Raises:
        SettingError: It is a relative path.
    """
    default = Path("~/.local/share/dropscribe/models")
    return environment.path("MODELS_ROOT") or default.expanduser()


def read_silence_dbfs(environment: Environment) -> float:
    """Read below which level nothing is to be heard, in dB of full scale.

    Raises:
        SettingError: It is no number.
    """
    return environment.number("SILENCE_DBFS", -60.0)


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


def _cores() -> int:
    return len(os.sched_getaffinity(0))
