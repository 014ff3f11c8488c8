"""Statistics of decisions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.documents.review.decision import ANSWERS, Answer
from consumers.documents.review.statistics import Share, cohens_kappa, review_statistics
from tests.harness.samples.reviews import decided, item

PAIRS = st.lists(st.tuples(st.sampled_from(ANSWERS), st.sampled_from(ANSWERS)), min_size=1)


def test_precision_is_the_upheld_share_of_upheld_and_rejected_items() -> None:
    found = review_statistics(
        [
            decided(item(1), ("Ada", "uphold")),
            decided(item(2), ("Ada", "uphold"), ("Bob", "uphold")),
            decided(item(3), ("Bob", "unsure"), ("Ada", "uphold")),
            decided(item(4), ("Ada", "reject")),
            decided(item(5), ("Ada", "unsure")),
            decided(item(6), ("Ada", "uphold"), ("Bob", "reject")),
            decided(item(6.4)),
            decided(item(1, policy="sexual"), ("Ada", "reject")),
        ]
    )
    assert (found.items, found.undecided) == (8, 1)
    hate, sexual = found.outcomes
    assert (hate.policy, hate.upheld, hate.rejected) == ("hate", 3, 1)
    assert (hate.disputed, hate.unsure) == (1, 1)
    assert hate.right is not None
    assert hate.right.value == 0.75
    assert sexual.right is not None
    assert sexual.right.value == 0


def test_versions_of_a_policy_count_separately() -> None:
    versions = ("a" * 16, "b" * 16)
    found = review_statistics(decided(item(version=each), ("Ada", "uphold")) for each in versions)
    assert [outcome.version for outcome in found.outcomes] == list(versions)


def test_the_latest_decision_of_each_reviewer_counts() -> None:
    (outcome,) = review_statistics(
        [decided(item(), ("Ada", "uphold"), ("Bob", "reject"), ("Ada", "reject"))]
    ).outcomes
    assert (outcome.upheld, outcome.rejected, outcome.disputed) == (0, 1, 0)


def test_the_missed_share_is_the_rejected_share_of_the_sample() -> None:
    samples = [item(n, n + 1, kind="sample") for n in range(10)]
    (outcome,) = review_statistics(
        decided(each, ("Ada", "reject" if each.start == 0 else "uphold")) for each in samples
    ).outcomes
    assert (outcome.kind, outcome.policy) == ("sample", None)
    assert outcome.wrong is not None
    assert (outcome.wrong.part, outcome.wrong.whole, outcome.wrong.value) == (1, 10, 0.1)


def test_no_decisions_give_no_statistics() -> None:
    found = review_statistics([decided(item())])
    assert (found.outcomes, found.agreements) == ((), ())
    (outcome,) = review_statistics([decided(item(), ("Ada", "unsure"))]).outcomes
    assert outcome.right is None


def test_wilsons_interval_matches_published_values() -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    for part, whole, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        share = Share.of(part, whole)
        assert share is not None
        assert (round(share.low, 4), round(share.high, 4)) == (low, high)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_is_within_its_interval(counts: tuple[int, int]) -> None:
    share = Share.of(*counts)
    assert share is not None
    assert 0 <= share.low <= share.value <= share.high <= 1
    mirrored = Share.of(counts[1] - counts[0], counts[1])
    assert mirrored is not None
    assert math.isclose(share.low, 1 - mirrored.high, abs_tol=1e-12)


def test_kappa_matches_a_textbook_example() -> None:
    """50 items: both yes 20, both no 15, 5 and 10 apart; Po = 0.7, Pe = 0.5."""
    counts: dict[tuple[Answer, Answer], int] = {
        ("uphold", "uphold"): 20,
        ("uphold", "reject"): 5,
        ("reject", "uphold"): 10,
        ("reject", "reject"): 15,
    }
    pairs = [pair for pair, number in counts.items() for _ in range(number)]
    assert cohens_kappa(pairs) == pytest.approx(0.4)


@given(PAIRS)
def test_kappa_is_one_of_full_agreement_and_never_more(
    pairs: list[tuple[Answer, Answer]],
) -> None:
    kappa = cohens_kappa(pairs)
    same = cohens_kappa([(one, one) for one, _ in pairs])
    assert kappa is None or -1 <= kappa <= 1
    assert same == (1 if len({one for one, _ in pairs}) > 1 else None)
    # Who is called the first reviewer makes no difference.
    assert cohens_kappa([(other, one) for one, other in pairs]) == kappa


@given(
    st.dictionaries(
        st.integers(0, 20),
        st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(ANSWERS)), max_size=5),
        max_size=12,
    )
)
def test_every_item_counts_once(said: dict[int, list[tuple[str, Answer]]]) -> None:
    reviewed = [decided(item(n, n + 1), *each) for n, each in said.items()]
    found = review_statistics(reviewed)
    counted = sum(
        each.upheld + each.rejected + each.disputed + each.unsure for each in found.outcomes
    )
    assert found.items == len(said)
    assert counted + found.undecided == found.items
    for agreement in found.agreements:
        both = [each for each in said.values() if set(agreement.reviewers) <= {r for r, _ in each}]
        assert agreement.items == len(both)
