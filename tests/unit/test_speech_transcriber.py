"""What is done where a model leaves out most of what is said.

Here the model says, of each window, what a test makes it say; what the real one says is
in ``tests/speech``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.speech.recogniser import SAMPLE_RATE, SampleArray
from consumers.speech.transcriber import WindowText, WindowTranscriber

FIRST = (
    "We walked home along the water, past the mill where my grandfather had worked for forty years"
)
SECOND = (
    "until the flood came, and nobody had told us that the bridge was closed since Wednesday"
    " evening, so we turned back."
)
SAID = f"{FIRST} {SECOND}"


def sound(*, pause_at: float, seconds: float = 28.0) -> SampleArray:
    """Make noise with a pause of half a second in it."""
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * SAMPLE_RATE))
    samples[round((pause_at - 0.25) * SAMPLE_RATE) : round((pause_at + 0.25) * SAMPLE_RATE)] = 0
    return samples.astype(np.float32)


def write(sounds: Sequence[SampleArray], says: Callable[[float], WindowText]) -> list[WindowText]:
    """Have windows written by a model that goes by their seconds."""

    def generate(windows: Sequence[SampleArray], *_: object) -> dict[str, list[Any]]:
        written = [says(len(window) / SAMPLE_RATE) for window in windows]
        return {
            "text": [each.words for each in written],
            "avg_logprob": [each.avg_logprob for each in written],
        }

    model = SimpleNamespace(
        hf_tokenizer=None,
        model=SimpleNamespace(is_multilingual=False),
        generate_segment_batched=generate,
    )
    libraries: Any = SimpleNamespace(
        tokenizer=lambda *_, **__: None, torch=SimpleNamespace(stack=list)
    )
    pipeline = SimpleNamespace(model=model, preprocess=dict, options=None)
    with ThreadPoolExecutor(2) as executor:
        return WindowTranscriber(pipeline, libraries, executor, batch_size=4, portions=2).write(
            sounds, "en"
        )


def halved(
    first: WindowText, second: WindowText, whole: str = "We walked home."
) -> Callable[[float], WindowText]:
    """Say something of the whole window, and other things of its parts before and behind 12 s."""
    return lambda seconds: (
        WindowText(whole, -0.2) if seconds > 20 else first if seconds < 14 else second
    )


def test_sparse_text_is_transcribed_again_in_halves_split_at_a_pause() -> None:
    says = halved(WindowText(FIRST, -0.1), WindowText(SECOND, -0.3))
    (written,) = write([sound(pause_at=12.0)], says)
    assert written.words == SAID
    assert -0.3 < written.avg_logprob < -0.1


def test_others_are_heard_once() -> None:
    recognised = []

    def says(seconds: float) -> WindowText:
        recognised.append(round(seconds, 1))
        return WindowText(SAID if seconds > 10 else "Yes.", -0.1)

    write([sound(pause_at=12.0, seconds=seconds) for seconds in (25.0, 20.0, 8.0)], says)
    assert sorted(recognised) == [8.0, 20.0, 25.0]


def test_halves_that_say_too_little_are_halved() -> None:
    said = {28: "We walked home.", 12: FIRST, 16: "until"}
    (written,) = write(
        [sound(pause_at=12.0)],
        lambda seconds: WindowText(said.get(round(seconds), SECOND[: round(8 * seconds)]), -0.1),
    )
    assert written.words.startswith(f"{FIRST} {SECOND[:30]}")


@pytest.mark.parametrize("little", ["you", ""])
def test_noise_stays_nearly_wordless_on_every_attempt(little: str) -> None:
    (written,) = write([sound(pause_at=12.0)], lambda _: WindowText(little, -0.2))
    assert written.words == little


def test_uncertain_text_counts_for_nothing() -> None:
    says = halved(WindowText(FIRST, -1.5), WindowText(SECOND, -1.5))
    assert write([sound(pause_at=12.0)], says)[0].words == "We walked home."


def test_repetitions_count_for_nothing() -> None:
    says = halved(WindowText("thank you very much " * 9, -0.1), WindowText("thank you " * 20, -0.1))
    assert write([sound(pause_at=12.0)], says)[0].words == "We walked home."


@given(st.floats(8.0, 20.0), st.floats(28.0, 30.0))
def test_no_sound_is_lost_between_halves(pause_at: float, seconds: float) -> None:
    recognised: list[float] = []

    def says(length: float) -> WindowText:
        recognised.append(length)
        return WindowText("Yes." if length > 25 else SAID, -0.1)

    write([sound(pause_at=pause_at, seconds=seconds)], says)
    whole, *halves = recognised
    assert abs(sum(halves) - whole) < 1e-6
    assert min(abs(half - pause_at) for half in halves) < 0.4
