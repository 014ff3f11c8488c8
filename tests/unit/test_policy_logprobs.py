"""What can be concluded from the few likeliest tokens that a server tells."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.errors import PermanentError
from consumers.policy.logprobs import TOLERANCE, score

YES, NO = 0, 1


def logs(**probabilities: float) -> dict[str, float | None]:
    return {token.removeprefix("_"): math.log(p) for token, p in probabilities.items()}


def test_both_answers_share_what_they_have() -> None:
    assert score(logs(_1=0.6, _0=0.2, the=0.1)) == pytest.approx(0.75)


@pytest.mark.parametrize(("yes", "no"), [(" 1", " 0"), ("▁1", "▁0"), ("1", "0\n")])
def test_an_answer_can_be_spelled_with_space(yes: str, no: str) -> None:
    assert score({yes: math.log(0.8), no: math.log(0.2)}) == pytest.approx(0.8)


def test_the_likeliest_spelling_of_an_answer_counts() -> None:
    assert score({"1": -0.5, " 1": -9.0, "0": -0.5, "▁0": -9.0}) == pytest.approx(0.5)


def test_an_answer_that_is_not_told_is_not_likelier_than_any_that_is() -> None:
    assert score(logs(_1=0.9, a=0.02, b=0.01)) == pytest.approx(0.9 / 0.91)
    assert score(logs(_0=0.9, a=0.02, b=0.01)) == pytest.approx(0.01 / 0.91)


def test_a_missing_logprob_is_bounded_by_the_rest() -> None:
    assert score(logs(_1=0.96, a=0.039)) == pytest.approx(0.96 / 0.961)
    assert score({"1": 0.0}) == 1
    assert score({"0": 0.0, "1": None}) == 0


@pytest.mark.parametrize(
    "likeliest",
    [
        {},
        {"the": -0.1, "a": -3.0},
        {"10": -0.1, "01": -2.0},
        {"1": None, "0": -math.inf},
        logs(a=0.5, b=0.3, _1=0.1),
        logs(a=0.5, b=0.3, _0=0.1),
    ],
)
def test_an_unclear_answer_has_no_score(likeliest: dict[str, float | None]) -> None:
    with pytest.raises(PermanentError, match="POLICY_ENDPOINT_MODEL"):
        score(likeliest)


@given(
    st.lists(st.floats(1e-9, 1), min_size=6, max_size=12).map(
        lambda weights: [weight / math.fsum(weights) for weight in weights]
    ),
    st.integers(1, 6),
)
def test_a_score_is_never_further_off_than_said(shares: list[float], told: int) -> None:
    """Whatever the whole distribution is, of which only the likeliest are told."""
    names = ["1", "0", *(f"t{n}" for n in range(len(shares) - 2))]
    ranked = sorted(zip(shares, names, strict=True), reverse=True)[:told]
    true = shares[YES] / (shares[YES] + shares[NO])
    try:
        result = score({name: math.log(share) for share, name in ranked})
    except PermanentError:
        assert {"0", "1"} - {name for _, name in ranked}
    else:
        assert abs(result - true) <= TOLERANCE + 1e-6
