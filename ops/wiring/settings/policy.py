"""How recordings are judged by policies, and which passages people review."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

from ops.wiring.cleartext import check_url
from ops.wiring.environment import Environment, SettingError
from ops.wiring.settings.servers import read_ca_file
from ops.wiring.settings.work import read_models_root, read_scratch_root, read_silence_dbfs

Device = Literal["auto", "cpu", "cuda"]
Quantisation = Literal["none", "8bit", "4bit"]

_URL = re.compile(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[\w.~-]+)*/?", re.ASCII)

#: Whisper's codes of languages.
_LANGUAGES = re.compile(r"[a-z]{2,3}(,[a-z]{2,3})*")


@dataclass(frozen=True, slots=True)
class ModerationSettings:
    """By which policies and which model recordings are judged.

    =============================  ===========================================
    ``POLICIES_ROOT``              a folder of policies (``*.md``, and
                                   ``thresholds.toml``); not set: nothing is
                                   judged
    ``POLICY_LANGUAGES``           those that the model knows (``en``), by
                                   commas; what is said in another is not
                                   judged, and its verdict says so
    ``POLICY_WINDOW_SECONDS``      the most that is judged at once (60)
    ``MODERATE_GROUP``             recordings per group (16)
    -----------------------------  -------------------------------------------
    in this process:
    -----------------------------  -------------------------------------------
    ``MODELS_ROOT``                where models lie
                                   (``~/.local/share/dropscribe/models``)
    ``POLICY_MODEL``               the base model: a folder under
                                   ``MODELS_ROOT``, or an absolute path
                                   (``gemma-2-9b``)
    ``POLICY_ADAPTER``             the LoRA adapter on it, likewise
                                   (``cope-a-9b``); ``none`` for none
    ``POLICY_DEVICE``              ``auto``, ``cpu`` or ``cuda`` (auto)
    ``POLICY_QUANTISATION``        ``none``, ``8bit`` or ``4bit`` (none)
    ``POLICY_BATCH_SIZE``          windows per batch (8)
    ``POLICY_CONTEXT``             tokens that a prompt may have, on an
                                   endpoint, too (8192)
    -----------------------------  -------------------------------------------
    or by a server:
    -----------------------------  -------------------------------------------
    ``POLICY_ENDPOINT``            the URL of an OpenAI-compatible one
                                   (``https://gpu1:8000/v1``)
    ``POLICY_ENDPOINT_MODEL``      what it calls the model
    ``POLICY_ENDPOINT_KEY``        its key, if it wants one (or
                                   ``POLICY_ENDPOINT_KEY_FILE``)
    ``POLICY_ENDPOINT_TIMEOUT``    seconds that an answer may keep us waiting
                                   (60)
    ``POLICY_ENDPOINT_CA_FILE``    certificates that the server's own has to be
                                   signed by (those that the system trusts)
    =============================  ===========================================

    Attributes:
        policies_root: None where nothing is judged.
        adapter: None for none.
        endpoint: Without a slash at its end; None for a model in this process.
        endpoint_model: None only where there is no endpoint.
    """

    policies_root: Path | None
    languages: tuple[str, ...]
    window_seconds: int
    group: int
    models_root: Path
    model: str
    adapter: str | None
    device: Device
    quantisation: Quantisation
    batch_size: int
    context: int
    endpoint: str | None
    endpoint_model: str | None
    endpoint_key: str | None = field(repr=False)
    endpoint_timeout: int
    endpoint_ca_file: str | None

    @property
    def is_moderated(self) -> bool:
        """Whether there is anything to judge by."""
        return self.policies_root is not None

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One is missing or can't be.
        """
        endpoint = _read_endpoint(environment)
        endpoint_model = environment.optional("POLICY_ENDPOINT_MODEL")
        if endpoint is not None and endpoint_model is None:
            raise SettingError("POLICY_ENDPOINT_MODEL is not set, but POLICY_ENDPOINT is")
        adapter = environment.text("POLICY_ADAPTER", "cope-a-9b")
        return cls(
            policies_root=environment.path("POLICIES_ROOT"),
            languages=_read_languages(environment),
            window_seconds=environment.integer("POLICY_WINDOW_SECONDS", 60, most=3600),
            group=environment.integer("MODERATE_GROUP", 16),
            models_root=read_models_root(environment),
            model=environment.text("POLICY_MODEL", "gemma-2-9b"),
            adapter=None if adapter == "none" else adapter,
            device=_read_device(environment),
            quantisation=_read_quantisation(environment),
            batch_size=environment.integer("POLICY_BATCH_SIZE", 8),
            context=environment.integer("POLICY_CONTEXT", 8192, least=128),
            endpoint=endpoint,
            endpoint_model=endpoint_model,
            endpoint_key=environment.secret("POLICY_ENDPOINT_KEY"),
            endpoint_timeout=environment.integer("POLICY_ENDPOINT_TIMEOUT", 60),
            endpoint_ca_file=read_ca_file(environment, "POLICY_ENDPOINT_CA_FILE"),
        )


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """Which passages people review, and what they hear of them.

    =========================  ===============================================
    ``REVIEW_SAMPLE``          the share, from 0 to 1, of the recordings that
                               no policy flags, of which a window is reviewed
                               all the same (0.02)
    ``REVIEW_MARGIN_SECONDS``  how much is heard before a passage, and after
                               (3)
    ``REVIEW_LOGPROB``         words of which the recogniser is less sure than
                               this (mean log probability per token) are
                               doubtful (-1.0)
    ``SILENCE_DBFS``           words over less sound than this are doubtful
                               (-60)
    ``SCRATCH_ROOT``           a folder for files in work (the system's
                               temporary folder)
    =========================  ===============================================
    """

    sample: float
    margin_seconds: float
    logprob: float
    silence_dbfs: float
    scratch_root: Path

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One can't be.
        """
        return cls(
            sample=_read_within(environment, "REVIEW_SAMPLE", 0.02, most=1),
            margin_seconds=_read_within(environment, "REVIEW_MARGIN_SECONDS", 3, most=60),
            logprob=environment.number("REVIEW_LOGPROB", -1.0),
            silence_dbfs=read_silence_dbfs(environment),
            scratch_root=read_scratch_root(environment),
        )


def _read_endpoint(environment: Environment) -> str | None:
    value = environment.optional("POLICY_ENDPOINT")
    if value is None:
        return None
    if not _URL.fullmatch(value):
        # A key belongs into a variable of its own, and is shown nowhere.
        shown = f"...@{value.rpartition('@')[2]}" if "@" in value else value.partition("?")[0]
        raise SettingError(
            f"POLICY_ENDPOINT={shown!r} is not a URL of the form https://HOST:PORT/v1 (a key goes "
            "into POLICY_ENDPOINT_KEY)"
        )
    check_url(environment, "POLICY_ENDPOINT", urlsplit(value).scheme, value)
    return value.rstrip("/")


def _read_languages(environment: Environment) -> tuple[str, ...]:
    text = environment.text("POLICY_LANGUAGES", "en").replace(" ", "")
    if not _LANGUAGES.fullmatch(text):
        raise SettingError(f"POLICY_LANGUAGES={text!r} is not a list of codes like en,de")
    return tuple(dict.fromkeys(text.split(",")))


def _read_device(environment: Environment) -> Device:
    value = environment.text("POLICY_DEVICE", "auto")
    if value in get_args(Device):
        return value  # type: ignore[return-value]
    raise SettingError(f"POLICY_DEVICE={value!r} is not auto, cpu or cuda")


def _read_quantisation(environment: Environment) -> Quantisation:
    value = environment.text("POLICY_QUANTISATION", "none")
    if value in get_args(Quantisation):
        return value  # type: ignore[return-value]
    raise SettingError(f"POLICY_QUANTISATION={value!r} is not none, 8bit or 4bit")


def _read_within(environment: Environment, name: str, default: float, *, most: float) -> float:
    value = environment.number(name, default)
    if not 0 <= value <= most:
        raise SettingError(f"{name}={value:g} is not within 0 and {most:g}")
    return value
