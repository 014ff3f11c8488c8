"""Stretches of speech that end where people on other channels may speak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.speech.voice import STRETCH_SECONDS, Stretch, divide_at_pauses, merge_stretches

CHUNK = {"start": 1.0, "end": 20.0, "segments": [(1.0, 4.0), (4.5, 6.0), (9.0, 12.0), (15.0, 20.0)]}


@pytest.mark.parametrize(
    ("pause", "turns"),
    [
        (None, [(1, 20)]),
        (10, [(1, 20)]),
        (3, [(1, 6), (9, 12), (15, 20)]),
        (0.5, [(1, 4), (4.5, 6), (9, 12), (15, 20)]),
    ],
)
def test_a_stretch_is_divided_at_pauses(pause: float | None, turns: list[Stretch]) -> None:
    assert list(divide_at_pauses(CHUNK, pause)) == turns


def test_turns_fill_the_window_again() -> None:
    assert merge_stretches([(0, 4), (9, 20), (22, 30), (31, 33)]) == [(0, 30), (31, 33)]


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), max_size=30))
def test_merged_stretches_lose_no_speech_and_fit_the_window(
    lengths: list[tuple[float, float]],
) -> None:
    stretches, clock = [], 0.0
    for pause, length in lengths:
        stretches.append((clock + pause, clock + pause + length))
        clock = stretches[-1][1]
    merged = merge_stretches(stretches)
    assert all(end - start <= STRETCH_SECONDS for start, end in merged)
    for start, end in stretches:
        assert any(first <= start and end <= last for first, last in merged)
