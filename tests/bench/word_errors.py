"""Word error rates of transcripts against the spoken text and each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from tests.bench.benchmark import DisagreementError

#: By how much more of the words may be wrong than with the best of the others.
_WORSE = 0.005


def compare_words(
    said: Sequence[str], ours: str, outputs: Mapping[str, Sequence[str]]
) -> Mapping[str, float]:
    """Compare all transcripts with the spoken text, and with ours.

    Args:
        outputs: The transcripts of the clips, by the case's name.

    Raises:
        DisagreementError: More of our words are wrong than of another's.
    """
    wrong = {name: word_error_rate(said, texts) for name, texts in outputs.items()}
    best = min(rate for name, rate in wrong.items() if name != ours)
    if wrong[ours] > best + _WORSE:
        raise DisagreementError(
            f"{wrong[ours]:.2%} of {ours}'s words are wrong, and {best:.2%} of the best of others"
        )
    told = {f"word error rate, {name}": rate for name, rate in wrong.items()}
    for name, texts in outputs.items():
        if name != ours:
            told[f"words unlike {ours}'s, {name}"] = word_error_rate(outputs[ours], texts)
    return told


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Give the word error rate over all clips, capitals and punctuation aside."""
    jiwer: Any = import_module("jiwer")
    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip()])
    return float(jiwer.wer(plain(list(said)), plain(list(heard))))
