"""Loads the policy model: transformers' causal model, its adapter, and its tokenizer."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from consumers.errors import ConfigurationError, install_hint
from consumers.policy.weights import ADAPTER_WEIGHTS, check_adapter, check_base

Quantisation = Literal["none", "8bit", "4bit"]

_NOISY_LOGGERS = ("accelerate", "bitsandbytes", "peft", "transformers")


@dataclass(frozen=True, slots=True)
class PolicyLibraries:
    """The modules that a judge needs, configured."""

    torch: ModuleType
    transformers: ModuleType
    peft: ModuleType
    safetensors: ModuleType


@dataclass(frozen=True, slots=True)
class PolicyModel:
    """A loaded model and its tokenizer."""

    network: Any
    tokenizer: Any


def import_libraries() -> PolicyLibraries:
    """Import the libraries, which takes some seconds.

    Raises:
        ConfigurationError: One is not installed.
    """
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            libraries = PolicyLibraries(
                torch=import_module("torch"),
                transformers=import_module("transformers"),
                peft=import_module("peft"),
                safetensors=import_module("safetensors"),
            )
            # peft and transformers need it to load weights onto a device.
            import_module("accelerate")
    except ImportError as exc:
        raise ConfigurationError(
            f"judging in process needs transformers and peft, which cannot be imported ({exc}): "
            f"{install_hint('policy')}, or set POLICY_ENDPOINT"
        ) from exc
    libraries.transformers.utils.logging.set_verbosity_error()
    libraries.transformers.utils.logging.disable_progress_bar()
    return libraries


def chosen_device(device: str, libraries: PolicyLibraries) -> str:
    """Resolve ``auto`` to the GPU if there is one.

    Raises:
        ConfigurationError: There is no such device.
    """
    has_gpu: bool = libraries.torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_gpu else "cpu"
    if device not in {"cpu", "cuda"}:
        raise ConfigurationError(f"POLICY_DEVICE must be auto, cpu or cuda, not {device!r}")
    if device == "cuda" and not has_gpu:
        raise ConfigurationError("POLICY_DEVICE is cuda, but PyTorch sees no GPU that it can use")
    return device


def load(
    libraries: PolicyLibraries,
    model: Path,
    adapter: Path | None,
    device: str,
    quantisation: Quantisation,
) -> PolicyModel:
    """Load a model and its LoRA adapter from their folders; nothing is downloaded.

    Args:
        libraries: From `import_libraries`.
        model: The folder of a causal model and its tokenizer.
        adapter: The folder of its adapter, or None.
        device: ``cpu`` or ``cuda``.
        quantisation: Of the model's weights.

    Raises:
        ConfigurationError: The weights are missing, or cannot be loaded on this device.
    """
    check_base(model)
    if adapter is not None:
        check_adapter(adapter)
    options = _quantised(libraries, quantisation)
    with _explained(f"the policy model {model} (POLICY_MODEL)", device, quantisation):
        tokenizer = libraries.transformers.AutoTokenizer.from_pretrained(
            model,
            local_files_only=True,
            trust_remote_code=False,
            # Contents are text, even where they spell a special token.
            split_special_tokens=True,
        )
        network = libraries.transformers.AutoModelForCausalLM.from_pretrained(
            model,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=libraries.torch.bfloat16 if device == "cuda" else libraries.torch.float32,
            device_map={"": device},
            # Gemma-2 was trained with capped attention logits; transformers' default
            # implementation, "sdpa", omits the cap.
            attn_implementation="eager",
            **options,
        )
    if adapter is not None:
        with _explained(f"the policy adapter {adapter} (POLICY_ADAPTER)", device, quantisation):
            network = _adapted(libraries, network, adapter, is_merged=quantisation == "none")
    return PolicyModel(network.eval(), tokenizer)


def _adapted(libraries: PolicyLibraries, network: Any, adapter: Path, *, is_merged: bool) -> Any:
    model = libraries.peft.PeftModel.from_pretrained(
        network, adapter, is_trainable=False, local_files_only=True
    )
    _check_fit(libraries, model, adapter)
    if is_merged:
        return model.merge_and_unload(safe_merge=True)
    # Merged into quantised weights, the adapter would be rounded to their few bits, which
    # are coarser than many of its own values. So it stays separate.
    return model.get_base_model()


def _check_fit(libraries: PolicyLibraries, model: Any, adapter: Path) -> None:
    """Refuse an adapter for another base: peft silently drops tensors that do not fit."""
    # "auto", the default for embeddings, can ask the Hub about the base.
    own = libraries.peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items()}
    # Some adapters hold whole embeddings, which replace the base's.
    known = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} | wanted
    with libraries.safetensors.safe_open(adapter / ADAPTER_WEIGHTS, framework="pt") as stored:
        given = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    strange = sorted(
        {name for name in given if given[name] != known.get(name)} | wanted.keys() - given.keys()
    )
    if strange:
        raise ConfigurationError(
            f"the policy adapter {adapter} (POLICY_ADAPTER) is for another base: {len(strange)} of "
            f"its tensors have no counterpart in the model (POLICY_MODEL), first {strange[0]}"
        )


def _quantised(libraries: PolicyLibraries, quantisation: Quantisation) -> dict[str, Any]:
    """Return the options of transformers' loader.

    4 bits are NF4 with nested scales, computed in bfloat16, as in QLoRA
    (https://arxiv.org/abs/2305.14314).
    """
    if quantisation not in get_args(Quantisation):
        raise ConfigurationError(
            f"POLICY_QUANTISATION must be none, 8bit or 4bit, not {quantisation!r}"
        )
    if quantisation == "none":
        return {}
    if find_spec("bitsandbytes") is None:
        raise ConfigurationError(
            f"POLICY_QUANTISATION {quantisation} needs bitsandbytes, which is not installed: "
            f"{install_hint('policy')}, or set it to none"
        )
    config = libraries.transformers.BitsAndBytesConfig
    if quantisation == "8bit":
        return {"quantization_config": config(load_in_8bit=True)}
    return {
        "quantization_config": config(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=libraries.torch.bfloat16,
        )
    }


@contextmanager
def _explained(what: str, device: str, quantisation: Quantisation) -> Iterator[None]:
    """Turn any exception of these libraries into an error that names what was loaded, and how."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ConfigurationError:
        raise
    except Exception as exc:
        advice = ""
        if "out of memory" in str(exc):
            advice = "; POLICY_QUANTISATION=8bit or 4bit takes less memory"
        raise ConfigurationError(
            f"{what} cannot be loaded on {device} with quantisation {quantisation} "
            f"({type(exc).__name__}: {exc}){advice}"
        ) from exc
