"""What people would recognise recordings with otherwise, as its makers show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from consumers.errors import ConfigurationError
from consumers.speech.libraries import import_libraries
from consumers.speech.weights import PACKAGED, find_whisper
from tests.bench.benchmark import Conditions
from tests.bench.opus_clips import SpeechSample
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
