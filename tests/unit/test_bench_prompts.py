"""What voice detection is measured with: people who speak, and when they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from consumers.errors import ConfigurationError
from consumers.speech.recogniser import SAMPLE_RATE
from tests.bench.prompts import PromptRecording, prompt_recordings


def recording(is_speech: list[bool]) -> PromptRecording:
    return PromptRecording(np.zeros(0, np.float32), np.array(is_speech))


def test_speech_in_no_stretch_is_missed() -> None:
    spoken = recording([True] * 10 + [False] * 10 + [True] * 10)
    assert spoken.spoken == 2.0
    assert spoken.missed([]) == 2.0
    assert spoken.missed([(0.0, 0.5)]) == 1.5
    assert spoken.missed([(0.0, 1.0), (2.5, 3.0)]) == 0.5
    assert spoken.missed([(0.0, 3.0)]) == 0.0


def test_without_the_prompts_it_says_how_to_install_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"apt-get install .*asterisk-core-sounds-en-g722"):
        prompt_recordings(tmp_path, 1.0)


def test_prompts_come_with_pauses_and_something_behind_them(tmp_path: Path) -> None:
    """Any bytes are sound to G.722: 8,000 of them are a second."""
    for folder in (
        "sounds/en_US_f_Allison",
        "sounds/es_MX_f_Allison",
        "sounds/fr_CA_f_June",
        "sounds/it_IT_m_Carlo",
        "sounds/ru_RU_f_IvrvoiceRU",
        "moh",
    ):
        path = tmp_path / folder / "prompt.g722"
        path.parent.mkdir(parents=True)
        path.write_bytes(np.random.default_rng(len(folder)).bytes(16_000))

    (made,) = prompt_recordings(tmp_path, 1.0)

    assert len(made.samples) == len(made.is_speech) * SAMPLE_RATE // 10
    assert made.spoken == pytest.approx(5 * 2.0, abs=1.0)
    assert made.spoken + 5 * 0.2 <= len(made.is_speech) / 10
    pauses = made.samples.reshape(-1, SAMPLE_RATE // 10)[~made.is_speech]
    speech = made.samples.reshape(-1, SAMPLE_RATE // 10)[made.is_speech]
    level = 10 * np.log10(np.square(speech).mean() / np.square(pauses).mean())
    assert level == pytest.approx(45, abs=1)
