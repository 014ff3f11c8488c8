"""WhisperX's pipeline, loaded: the model on a device, and the voice detection before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from consumers.speech.libraries import SpeechLibraries, quiet
from consumers.speech.voice import VAD_OFFSET, VAD_ONSET
from consumers.speech.weights import SpeechSetupError, WhisperWeights


@dataclass(frozen=True, slots=True)
class Engine:
    """What the model runs on: ``cpu`` or ``cuda``, CTranslate2's type, threads of the CPU."""

    device: str
    compute_type: str
    threads: int

    @classmethod
    def chosen(
        cls, device: str, compute_type: str | None, threads: int, libraries: SpeechLibraries
    ) -> Engine:
        """Fill in what was left open: the GPU if there is one, and the type that suits.

        Raises:
            SpeechSetupError: there is no such device.
        """
        has_gpu: bool = libraries.torch.cuda.is_available()
        if device == "auto":
            device = "cuda" if has_gpu else "cpu"
        if device not in {"cpu", "cuda"}:
            raise SpeechSetupError(f"the device is auto, cpu or cuda, and not {device!r}")
        if device == "cuda" and not has_gpu:
            raise SpeechSetupError("the device is cuda, and PyTorch sees no GPU that it can use")
        return cls(device, compute_type or ("float16" if device == "cuda" else "int8"), threads)

    @property
    def workers(self) -> int:
        """How many batches the model works on side by side.

        A GPU does one after the other. On a CPU, threads that have a batch each wait
        less for one another than threads that share one.
        """
        return 1 if self.device == "cuda" else self.threads

    @property
    def encodes_singly(self) -> bool:
        """Whether windows go through the encoder one at a time, before a batch is decoded.

        A CPU has its caches: a batch of 16 takes a fifth longer than 16 windows. What
        is kept in 16 bits can't be put together outside of the model.
        """
        return self.device == "cpu" and "16" not in self.compute_type


def load_pipeline(
    libraries: SpeechLibraries, weights: WhisperWeights, models_root: Path, engine: Engine
) -> Any:
    """A ``FasterWhisperPipeline`` with pyannote's voice detection, whose weights WhisperX carries.

    Raises:
        SpeechSetupError: the weights cannot be had, or not be loaded on this device.
    """
    try:
        with quiet():
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
    """WhisperX's ``WhisperModel``, whose encoder gets one window at a time."""
    storage_view = libraries.storage_view

    class SingleEncoding(libraries.asr.WhisperModel):  # type: ignore[misc,name-defined]
        def encode(self, features: Any) -> Any:
            if len(features) == 1 or len(features.shape) == 2:  # noqa: PLR2004
                return super().encode(features)
            encoded = [np.asarray(super(SingleEncoding, self).encode(one)) for one in features]
            return storage_view.from_array(np.concatenate(encoded))

    return SingleEncoding


def _check_mel_bands(whisper: Any, weights: WhisperWeights) -> None:
    """large-v3 hears 128 bands, and only preprocessor_config.json says so."""
    assumed = whisper.feat_kwargs.get("feature_size", 80)
    if whisper.model.n_mels != assumed:
        raise SpeechSetupError(
            f"the model {weights.source} (WHISPER_MODEL) hears {whisper.model.n_mels} mel bands, "
            f"and {assumed} are assumed: put its preprocessor_config.json into its folder"
        )
