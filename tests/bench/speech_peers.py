"""Other ways to recognise recordings, as their makers show them, and the model alone.

The model alone is CTranslate2's encoder and decoder on features that lie ready.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consumers.errors import ConfigurationError
from consumers.speech.libraries import import_libraries
from consumers.speech.pipeline import Engine, load_pipeline
from consumers.speech.recogniser import SAMPLE_RATE
from consumers.speech.weights import PACKAGED, find_whisper
from tests.bench.benchmark import Conditions
from tests.bench.clips import SpeechSample
from tests.harness.servers.process import require

#: What is said in each clip.
Texts: TypeAlias = list[str]

#: Windows that go through the model at once (``WHISPER_BATCH_SIZE``).
BATCH = 16


class Peers:
    """Each with the packaged weights, loaded once, but for the command line's."""

    def __init__(self, clips: Sequence[SpeechSample], conditions: Conditions, threads: int) -> None:
        """Load the models, and write the clips as files for the command line.

        Raises:
            ConfigurationError: FFmpeg's command is missing, which WhisperX reads files with.
        """
        require(["ffmpeg"], "apt-get install --no-install-recommends ffmpeg")
        self._clips = clips
        self._device = conditions.device
        self._type = "float16" if conditions.device == "cuda" else "int8"
        self._threads = threads
        self._folder = conditions.folder
        self._weights = find_whisper(PACKAGED, conditions.folder).source
        self._files = [conditions.folder / f"{clip.name}.opus" for clip in clips]
        for file, clip in zip(self._files, clips, strict=True):
            file.write_bytes(clip.opus)
        self._whisperx = self._load_whisperx()
        self._batched = self._load_faster_whisper()

    def whisperx_per_file(self) -> Texts:
        """Call WhisperX's ``transcribe`` for each clip's samples."""
        with warnings.catch_warnings(action="ignore"):
            return [
                _joined(
                    segment["text"]
                    for segment in self._whisperx.transcribe(clip.samples, batch_size=BATCH)[
                        "segments"
                    ]
                )
                for clip in self._clips
            ]

    def faster_whisper(self) -> Texts:
        """Call faster-whisper's batched pipeline for each clip's samples."""
        texts = []
        for clip in self._clips:
            segments, _ = self._batched.transcribe(clip.samples, language="en", batch_size=BATCH)
            texts.append(_joined(segment.text for segment in segments))
        return texts

    def whisperx_command(self) -> Texts:
        """Run WhisperX's command once for all files: start and reading of files are in it.

        Raises:
            ConfigurationError: It failed.
        """
        with tempfile.TemporaryDirectory(dir=self._folder) as output:
            command = [
                *(sys.executable, "-m", "whisperx", *map(str, self._files)),
                *("--model", self._weights, "--model_cache_only", "True", "--language", "en"),
                *("--device", self._device, "--compute_type", self._type),
                *("--threads", str(self._threads), "--batch_size", str(BATCH)),
                *("--no_align", "--output_format", "json", "--output_dir", output),
            ]
            # It would report its use to its makers.
            surroundings = os.environ | {"HF_HUB_OFFLINE": "1", "PYANNOTE_METRICS_ENABLED": "0"}
            done = subprocess.run(
                command, env=surroundings, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise ConfigurationError(f"whisperx ended with {done.stderr[-500:]}")
            found = [
                json.loads((Path(output) / f"{file.stem}.json").read_text(encoding="utf-8"))
                for file in self._files
            ]
        return [_joined(segment["text"] for segment in each["segments"]) for each in found]

    def _load_whisperx(self) -> Any:
        with warnings.catch_warnings(action="ignore"):
            return import_libraries().asr.load_model(
                self._weights,
                self._device,
                compute_type=self._type,
                language="en",
                local_files_only=True,
                threads=self._threads,
            )

    def _load_faster_whisper(self) -> Any:
        from faster_whisper import BatchedInferencePipeline, WhisperModel  # noqa: PLC0415

        return BatchedInferencePipeline(
            WhisperModel(
                self._weights,
                device=self._device,
                compute_type=self._type,
                cpu_threads=self._threads,
                local_files_only=True,
            )
        )


def _joined(texts: Any) -> str:
    return " ".join(text.strip() for text in texts)


#: A clip's number, its samples, and where in it (seconds) the window begins and ends.
AudioWindow = tuple[int, NDArray[np.float32], float, float]


class Limit:
    """Windows that others found, in full batches; or in portions, as dropscribe has them."""

    def __init__(
        self,
        windows: Sequence[AudioWindow],
        clips: int,
        conditions: Conditions,
        *,
        threads: int,
        side_by_side: bool,
    ) -> None:
        """Load the model, and compute all features.

        Args:
            side_by_side: divide each batch among the CPU's threads.
        """
        libraries = import_libraries()
        engine = Engine.chosen(conditions.device, None, threads, libraries)
        weights = find_whisper(PACKAGED, conditions.folder)
        self._pipeline = load_pipeline(libraries, weights, conditions.folder, engine)
        if not side_by_side:
            self._pipeline.model = libraries.asr.WhisperModel(
                weights.source,
                device=engine.device,
                compute_type=engine.compute_type,
                cpu_threads=threads,
                local_files_only=True,
            )
        workers = engine.workers if side_by_side else 1
        size = -(-BATCH // workers)
        self._executor = ThreadPoolExecutor(workers)
        self._tokenizer = libraries.tokenizer(
            self._pipeline.model.hf_tokenizer,
            multilingual=False,
            task="transcribe",
            language="en",
        )
        self._clips = clips
        # Equal lengths together, as the decoder goes on until the longest text is whole.
        order = sorted(windows, key=lambda window: window[2] - window[3])
        self._numbers = [number for number, *_ in order]
        features = [self._features(*window[1:]) for window in order]
        self._batches = [
            libraries.torch.stack(features[begin : begin + size])
            for begin in range(0, len(features), size)
        ]

    def texts(self) -> Texts:
        """Run the model on everything."""
        said: list[list[str]] = [[] for _ in range(self._clips)]
        found = [
            text for texts in self._executor.map(self._generated, self._batches) for text in texts
        ]
        for number, text in zip(self._numbers, found, strict=True):
            said[number].append(text.strip())
        return [" ".join(texts) for texts in said]

    def _features(self, samples: NDArray[np.float32], start: float, end: float) -> Any:
        window = samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
        return self._pipeline.preprocess({"inputs": window})["inputs"]

    def _generated(self, features: Any) -> list[str]:
        texts: list[str] = self._pipeline.model.generate_segment_batched(
            features, self._tokenizer, self._pipeline.options
        )["text"]
        return texts
