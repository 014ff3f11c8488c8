"""WhisperX and its dependencies, imported late, kept quiet and off the network.

They print, warn, log to standard output, and send usage reports. All of that is turned off
here; errors are not.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from consumers.errors import install_hint
from consumers.speech.weights import SpeechSetupError

NOISY_LOGGERS = (
    "faster_whisper",
    "lightning.fabric",
    "lightning.pytorch",
    "pyannote",
    "pytorch_lightning",
    "transformers",
    "whisperx",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpeechLibraries:
    """The modules that recognition needs, configured."""

    alignment: ModuleType
    asr: ModuleType
    fix_reproducibility: Callable[..., None]
    nltk_data: ModuleType
    punkt_languages: dict[str, str]
    pyannote_core: ModuleType
    storage_view: Any
    tokenizer: Callable[..., Any]
    torch: ModuleType


def import_libraries() -> SpeechLibraries:
    """Import the libraries, which takes some ten seconds.

    Raises:
        SpeechSetupError: WhisperX or a dependency is not installed.
    """
    # WhisperX adds a handler for standard output unless it finds one.
    logging.getLogger("whisperx").addHandler(logging.NullHandler())
    with warnings.catch_warnings(action="ignore"):
        try:
            libraries = SpeechLibraries(
                alignment=import_module("whisperx.alignment"),
                asr=import_module("whisperx.asr"),
                fix_reproducibility=import_module(
                    "pyannote.audio.utils.reproducibility"
                ).fix_reproducibility,
                nltk_data=import_module("nltk.data"),
                punkt_languages=import_module("whisperx.utils").PUNKT_LANGUAGES,
                pyannote_core=import_module("pyannote.core"),
                storage_view=import_module("ctranslate2").StorageView,
                tokenizer=import_module("faster_whisper.tokenizer").Tokenizer,
                torch=import_module("torch"),
            )
            telemetry = import_module("pyannote.audio.telemetry")
            ctranslate2 = import_module("ctranslate2")
        except ImportError as exc:
            raise SpeechSetupError(
                f"speech recognition needs WhisperX, and it cannot be imported ({exc}): "
                f"{install_hint('speech')}"
            ) from exc
    # pyannote.audio reports each file, with its length, to its makers.
    telemetry.set_telemetry_metrics(enabled=False)
    ctranslate2.set_log_level(logging.ERROR)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # WhisperX prints the errors that it raises; this global shadows the built-in print.
    vars(libraries.alignment)["print"] = _log_instead
    return libraries


def _log_instead(*words: object) -> None:
    log.debug(" ".join(map(str, words)))
