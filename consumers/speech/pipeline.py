"""Loads WhisperX's pipeline: the model on a device, and voice detection."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from consumers.speech.libraries import SpeechLibraries
from consumers.speech.voice import VAD_OFFSET, VAD_ONSET
from consumers.speech.weights import SpeechSetupError, WhisperWeights


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the model runs: ``cpu`` or ``cuda``, CTranslate2's compute type, CPU threads."""

    device: str
    compute_type: str
    threads: int

    @classmethod
    def chosen(
        cls, device: str, compute_type: str | None, threads: int, libraries: SpeechLibraries
    ) -> Engine:
        """Resolve ``auto`` to the GPU if there is one, and a missing type to the device's default.

        Raises:
            SpeechSetupError: there is no such device.
        """
        has_gpu: bool = libraries.torch.cuda.is_available()
        if device == "auto":
            device = "cuda" if has_gpu else "cpu"
        if device not in {"cpu", "cuda"}:
            raise SpeechSetupError(f"the device must be auto, cpu or cuda, not {device!r}")
        if device == "cuda" and not has_gpu:
            raise SpeechSetupError("the device is cuda, but PyTorch sees no usable GPU")
        return cls(device, compute_type or ("float16" if device == "cuda" else "int8"), threads)

    @property
    def workers(self) -> int:
        """The number of batches in the model at once.

        A GPU processes one after the other. CPU threads with a batch each wait less for one
        another than threads that share one.
        """
        return 1 if self.device == "cuda" else self.threads

    @property
    def encodes_singly(self) -> bool:
        """Whether windows are encoded one at a time before their batch is decoded.

        Because of a CPU's caches, a batch of 16 takes a fifth longer than 16 windows. Encodings
        in 16 bits cannot be joined outside the model.
        """
        return self.device == "cpu" and "16" not in self.compute_type


def load_pipeline(
    libraries: SpeechLibraries, weights: WhisperWeights, models_root: Path, engine: Engine
) -> Any:
    """Load a ``FasterWhisperPipeline`` with pyannote's voice detection, part of WhisperX.

    Raises:
        SpeechSetupError: the weights are missing, or cannot be loaded on this device.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            pipeline = libraries.asr.load_model(
                weights.source,
                engine.device,
                compute_type=engine.compute_type,
                vad_method="pyannote",
                vad_options={"vad_onset": VAD_ONSET, "vad_offset": VAD_OFFSET},
                model=_whisper(libraries, weights, models_root, engine),
            )
    except Exception as exc:
        raise SpeechSetupError(
            f"the model {weights.source} (WHISPER_MODEL; MODELS_ROOT is {models_root}) cannot be "
            f"loaded on {engine.device} as {engine.compute_type}: {exc}"
        ) from exc
    _check_mel_bands(pipeline.model, weights)
    return pipeline


def _whisper(
    libraries: SpeechLibraries, weights: WhisperWeights, models_root: Path, engine: Engine
) -> Any:
    model = _single_encoding(libraries) if engine.encodes_singly else libraries.asr.WhisperModel
    return model(
        weights.source,
        device=engine.device,
        compute_type=engine.compute_type,
        download_root=str(models_root),
        local_files_only=weights.is_local,
        cpu_threads=max(1, engine.threads // engine.workers),
        num_workers=engine.workers,
    )


def _single_encoding(libraries: SpeechLibraries) -> Any:
    """Derive a ``WhisperModel`` that encodes one window at a time."""
    storage_view = libraries.storage_view

    class SingleEncoding(libraries.asr.WhisperModel):  # type: ignore[misc,name-defined]
        def encode(self, features: Any) -> Any:
            if len(features) == 1 or len(features.shape) == 2:  # noqa: PLR2004
                return super().encode(features)
            encoded = [np.asarray(super(SingleEncoding, self).encode(one)) for one in features]
            return storage_view.from_array(np.concatenate(encoded))

    return SingleEncoding


def _check_mel_bands(whisper: Any, weights: WhisperWeights) -> None:
    """Check the mel bands: large-v3 has 128, stated only in preprocessor_config.json."""
    assumed = whisper.feat_kwargs.get("feature_size", 80)
    if whisper.model.n_mels != assumed:
        raise SpeechSetupError(
            f"the model {weights.source} (WHISPER_MODEL) needs {whisper.model.n_mels} mel bands, "
            f"but {assumed} are assumed: put its preprocessor_config.json into its folder"
        )
