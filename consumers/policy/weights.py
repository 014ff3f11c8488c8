"""Checks the folders of a policy model's weights before they are loaded."""

from __future__ import annotations

import json
from pathlib import Path

from consumers.errors import ConfigurationError

#: The sources of the weights. Both are gated: an account must once accept the terms at
#: https://huggingface.co/REPOSITORY.
BASE_REPOSITORY = "google/gemma-2-9b"
ADAPTER_REPOSITORY = "zentropi-ai/cope-a-9b"

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_ADAPTER_CONFIG = "adapter_config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def check_base(folder: Path) -> None:
    """Check for a complete model in safetensors, the format that cannot hold code.

    Raises:
        ConfigurationError: The folder or a file is missing.
    """
    what = f"the policy model's folder {folder} (POLICY_MODEL)"
    advice = _advice(BASE_REPOSITORY, folder)
    _check_files(folder, ("config.json", "tokenizer.json"), what, advice)
    if (folder / _INDEX).is_file():
        _check_files(folder, _shards(folder / _INDEX, what, advice), what, advice)
    else:
        _check_files(folder, (_WEIGHTS,), what, advice)


def check_adapter(folder: Path) -> None:
    """Check for a complete LoRA adapter.

    Raises:
        ConfigurationError: The folder or a file is missing, or the adapter is of another kind.
    """
    what = f"the policy adapter's folder {folder} (POLICY_ADAPTER)"
    advice = _advice(ADAPTER_REPOSITORY, folder)
    _check_files(folder, (_ADAPTER_CONFIG, ADAPTER_WEIGHTS), what, advice)
    kind = _read(folder / _ADAPTER_CONFIG, what, advice).get("peft_type")
    if kind != "LORA":
        raise ConfigurationError(f"{what} holds an adapter of the kind {kind!r}, not LORA")


def _advice(repository: str, folder: Path) -> str:
    return (
        f"accept the terms of https://huggingface.co/{repository}, "
        f"then run: hf download {repository} --local-dir {folder}"
    )


def _check_files(folder: Path, names: tuple[str, ...], what: str, advice: str) -> None:
    if not folder.is_dir():
        raise ConfigurationError(f"{what} does not exist: {advice}")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ConfigurationError(f"{what} is incomplete, without {', '.join(missing)}: {advice}")


def _shards(index: Path, what: str, advice: str) -> tuple[str, ...]:
    """Return the files of a model in several parts."""
    parts = _read(index, what, advice).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise ConfigurationError(f"{what} has a broken {index.name}: {advice}")
    return tuple(sorted({str(name) for name in parts.values()}))


def _read(path: Path, what: str, advice: str) -> dict[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{what} has a broken {path.name} ({exc}): {advice}") from exc
    if not isinstance(document, dict):
        raise ConfigurationError(f"{what} has a broken {path.name}: {advice}")
    return document
