"""How each stage works."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, PlainValidator, model_validator

from ops.wiring.cleartext import check_url
from ops.wiring.environment import SettingError
from ops.wiring.settings.declaration import Form, Settings, count, setting
from ops.wiring.settings.servers import CleartextSettings, without_user
from ops.wiring.settings.values import AbsolutePath, Device, ExistingFile, Number, Whole

_ENDPOINT = re.compile(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[\w.~-]+)*/?", re.ASCII)

#: Whisper's codes of languages.
_LANGUAGES = re.compile(r"[a-z]{2,3}(,[a-z]{2,3})*")

#: The value of `WHISPER_MODEL` on the embedded stack: tiny.en, from a Python package.
PACKAGED_MODEL = "packaged:tiny.en"


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _temporary_folder() -> Path:
    return Path(tempfile.gettempdir())


def _models_folder() -> Path:
    return Path("~/.local/share/dropscribe/models").expanduser()


def _languages(text: str) -> tuple[str, ...]:
    text = text.replace(" ", "")
    if not _LANGUAGES.fullmatch(text):
        raise ValueError
    return tuple(dict.fromkeys(text.split(",")))


def _endpoint(value: str) -> str:
    if not _ENDPOINT.fullmatch(value):
        # A key may stand in the wrong place, before the host or in the query.
        shown = without_user(value) if "@" in value else value.partition("?")[0]
        raise SettingError(
            f"POLICY_ENDPOINT={shown!r} is invalid: must be a URL of the form "
            "https://HOST:PORT/v1 (a key goes into POLICY_ENDPOINT_KEY)"
        )
    return value.rstrip("/")


def _adapter(name: str) -> str | None:
    return None if name == "none" else name


class ScratchRootSettings(Settings):
    """Where scratch files go, whether or not the folder is there."""

    title = "Folders"

    scratch_root: AbsolutePath = setting(
        "SCRATCH_ROOT",
        "Folder for scratch files, which vanish with their process",
        default=_temporary_folder,
        shown="the system's temporary folder",
    )


class ScratchSettings(ScratchRootSettings):
    """A folder for scratch files that is there and writable."""

    @model_validator(mode="after")
    def _check_scratch(self) -> Self:
        root = self.scratch_root
        if not root.is_dir():
            raise SettingError(f"SCRATCH_ROOT={str(root)!r} is not a folder")
        if not os.access(root, os.W_OK | os.X_OK):
            raise SettingError(f"SCRATCH_ROOT={str(root)!r} is not writable")
        return self


class ModelsSettings(Settings):
    """Where models are."""

    title = "Folders"

    models_root: AbsolutePath = setting(
        "MODELS_ROOT",
        "Folder of the models; models given by name are downloaded into it",
        default=_models_folder,
        shown="~/.local/share/dropscribe/models",
    )


class SilenceSettings(Settings):
    """The level that separates sound from silence."""

    title = "Sound"

    silence_dbfs: Number = setting(
        "SILENCE_DBFS",
        "Level of silence in dBFS: a recording without a louder second is silent, and words "
        "over less are doubtful",
        default=-60.0,
        shown="-60",
    )


class UnpackSettings(ScratchSettings, SilenceSettings):
    """How ``unpack`` converts recordings."""

    title = "Stage unpack"

    processes: Whole = count(
        "UNPACK_PROCESSES", "Number of transcoding processes", default=_cores, shown="one per core"
    )
    opus_bit_rate: Whole = count(
        "OPUS_BIT_RATE", "Bits per second of sound", default=24_000, least=6_000, most=256_000
    )
    opus_complexity: Whole = count(
        "OPUS_COMPLEXITY",
        "Effort of the encoder; below 5, speech suffers",
        default=6,
        least=0,
        most=10,
    )
    channels: Literal["auto", "mix", "split"] = setting(
        "CHANNELS",
        "Channels and tracks of a recording: auto keeps different voices apart, mix makes one of "
        "all, split keeps all but copies apart",
        default="auto",
    )


class SpeechSettings(ScratchSettings, ModelsSettings):
    """How ``transcribe`` recognises speech."""

    title = "Stage transcribe"

    model: str = setting(
        "WHISPER_MODEL",
        "Whisper model: a name, a path, a folder under MODELS_ROOT, or packaged:tiny.en",
        default="large-v3",
        shown=f"large-v3; on the embedded stack {PACKAGED_MODEL}",
    )
    device: Device = setting("WHISPER_DEVICE", "Device that Whisper runs on", default="auto")
    compute_type: str | None = setting(
        "WHISPER_COMPUTE_TYPE",
        "CTranslate2's compute type",
        default=None,
        shown="int8 on a CPU, float16 on a GPU",
    )
    batch_size: Whole = count("WHISPER_BATCH_SIZE", "Windows of sound per batch", default=16)
    threads: Whole = count(
        "WHISPER_THREADS", "Number of CPU threads", default=_cores, shown="one per core"
    )
    group: Whole = count("TRANSCRIBE_GROUP", "Recordings that are transcribed together", default=32)
    duplicates: Literal["note", "skip"] = setting(
        "DUPLICATES",
        "What is done with a recording whose bytes were in an earlier one: it gets a note, or also "
        "that one's transcript instead of being transcribed again",
        default="note",
    )


class PoliciesSettings(Settings):
    """The folder of content policies."""

    title = "Stage moderate"

    policies_root: AbsolutePath | None = setting(
        "POLICIES_ROOT",
        "Folder of content policies (*.md and thresholds.toml); if unset, nothing is moderated",
        default=None,
    )

    @property
    def is_moderated(self) -> bool:
        """Whether there are policies."""
        return self.policies_root is not None


class ModerationSettings(PoliciesSettings, ModelsSettings, CleartextSettings):
    """How ``moderate`` applies content policies, with a model in its process or a server's."""

    title = "Stage moderate"

    languages: Annotated[
        tuple[str, ...], PlainValidator(_languages), Form("a list of codes like en,de")
    ] = setting(
        "POLICY_LANGUAGES",
        "Languages that the model knows; recordings in other languages are not judged, and "
        "their verdict says so",
        default="en",
    )
    window_seconds: Whole = count(
        "POLICY_WINDOW_SECONDS", "Longest window to judge, in seconds", default=60, most=3600
    )
    group: Whole = count("MODERATE_GROUP", "Recordings that are judged together", default=16)
    model: str = setting(
        "POLICY_MODEL",
        "Base model: a folder under MODELS_ROOT, or an absolute path",
        default="gemma-2-9b",
    )
    adapter: Annotated[str | None, AfterValidator(_adapter)] = setting(
        "POLICY_ADAPTER",
        "LoRA adapter: a folder under MODELS_ROOT, an absolute path, or none",
        default="cope-a-9b",
    )
    device: Device = setting("POLICY_DEVICE", "Device that the model runs on", default="auto")
    quantisation: Literal["none", "8bit", "4bit"] = setting(
        "POLICY_QUANTISATION", "Quantisation of the model", default="none"
    )
    batch_size: Whole = count("POLICY_BATCH_SIZE", "Windows of text per batch", default=8)
    context: Whole = count(
        "POLICY_CONTEXT", "Most tokens in a prompt, also for an endpoint", default=8192, least=128
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = setting(
        "POLICY_ENDPOINT",
        "URL of an OpenAI-compatible server to use instead, like https://gpu1:8000/v1",
        default=None,
    )
    endpoint_model: str | None = setting(
        "POLICY_ENDPOINT_MODEL", "Name of the model on that server", default=None
    )
    endpoint_key: str | None = setting(
        "POLICY_ENDPOINT_KEY", "API key of that server, if it needs one", default=None, secret=True
    )
    endpoint_timeout: Whole = count(
        "POLICY_ENDPOINT_TIMEOUT", "Read timeout of that server, in seconds", default=60
    )
    endpoint_ca_file: ExistingFile | None = setting(
        "POLICY_ENDPOINT_CA_FILE",
        "Certificates to trust for that server, a PEM file",
        default=None,
        shown="those that the system trusts",
    )

    @model_validator(mode="after")
    def _check_endpoint(self) -> Self:
        if self.endpoint is not None:
            if self.endpoint_model is None:
                raise SettingError("POLICY_ENDPOINT_MODEL is not set, but POLICY_ENDPOINT is")
            check_url("POLICY_ENDPOINT", self.endpoint, self.endpoint, allow=self.allow_cleartext)
        return self


class ReviewSettings(ScratchSettings, SilenceSettings):
    """How ``review`` selects passages for people, and cuts them."""

    title = "Stage review"

    sample: Number = setting(
        "REVIEW_SAMPLE",
        "Share of unflagged recordings to sample for review",
        default=0.02,
        least=0,
        most=1,
    )
    margin_seconds: Number = setting(
        "REVIEW_MARGIN_SECONDS",
        "Seconds of sound before and after a passage",
        default=3.0,
        shown="3",
        least=0,
        most=60,
    )
    logprob: Number = setting(
        "REVIEW_LOGPROB",
        "Mean log probability per token below which words are doubtful",
        default=-1.0,
    )
