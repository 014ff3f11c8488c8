"""Statistics of decisions: how often the machine is right, and how far reviewers agree.

Only a reviewer's latest decision on an item counts. Items that one reviewer upholds and
another rejects are disputed; they, and ``unsure`` ones, count neither as right nor as wrong.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from consumers.documents.review.decision import Answer
from consumers.documents.review.item import ItemKind
from consumers.documents.review.reviewed_item import ReviewedItem

#: The standard normal distribution's 97.5 % quantile: for an interval of 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Share:
    """A share and its confidence interval of 95 %, from 0 to 1.

    The interval is Wilson's, which also holds for few and for extreme counts
    (E. B. Wilson, 1927; "score interval, without continuity correction").

    Attributes:
        part: The count.
        whole: The total, at least 1.
        value: ``part / whole``.
        low: The interval's lower end.
        high: Its upper end.
    """

    part: int
    whole: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, part: int, whole: int) -> Share | None:
        """Make a share; None where the total is 0."""
        if whole == 0:
            return None
        value = part / whole
        spread = 1 + _Z**2 / whole
        middle = (value + _Z**2 / (2 * whole)) / spread
        half = _Z / spread * math.sqrt(value * (1 - value) / whole + _Z**2 / (4 * whole**2))
        # Where the share is 0 or 1, an end is exactly the share, but for rounding.
        low, high = min(value, middle - half), max(value, middle + half)
        return cls(part, whole, value, max(0.0, low), min(1.0, high))


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """Statistics of one kind of items.

    Attributes:
        kind: The kind.
        policy: For flagged items the policy.
        version: That policy's version.
        upheld: Items with a right finding.
        rejected: Items with a wrong finding.
        disputed: Items on which reviewers disagree.
        unsure: Items that nobody could judge.
        right: The share of upheld items in those that are upheld or rejected: the policy's
            precision for flagged items. None where there are none.
        wrong: The other share: the policies' misses among unflagged windows for a sample.
    """

    kind: ItemKind
    policy: str | None
    version: str | None
    upheld: int
    rejected: int
    disputed: int
    unsure: int
    right: Share | None
    wrong: Share | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of two reviewers on the items that both decided.

    Attributes:
        reviewers: Their names, sorted.
        items: Items that both decided.
        agreed: Items with the same answer.
        share: ``agreed / items``.
        kappa: Cohen's, over all three answers: 1 is full agreement, 0 is chance. None where
            each reviewer gave the same answer to everything.
    """

    reviewers: tuple[str, str]
    items: int
    agreed: int
    share: float
    kappa: float | None


@dataclass(frozen=True, slots=True)
class ReviewStatistics:
    """Statistics of all items.

    Attributes:
        items: Their number.
        undecided: Items without a decision.
        outcomes: By kind, policy and version.
        agreements: By pair of reviewers.
    """

    items: int
    undecided: int
    outcomes: tuple[GroupStatistics, ...]
    agreements: tuple[Agreement, ...]

    def to_document(self) -> dict[str, Any]:
        """The form that ``--json`` prints."""
        return asdict(self)


_Group = tuple[ItemKind, str | None, str | None]
_Pairs = Sequence[tuple[Answer, Answer]]


@dataclass(slots=True)
class _Tally:
    items: int = 0
    undecided: int = 0
    groups: dict[_Group, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    pairs: dict[tuple[str, str], list[tuple[Answer, Answer]]] = field(
        default_factory=lambda: defaultdict(list)
    )


def review_statistics(reviewed: Iterable[ReviewedItem]) -> ReviewStatistics:
    """Count decisions; items are consumed one by one, and not kept."""
    tally = _Tally()
    for each in reviewed:
        tally.items += 1
        latest = each.latest
        if not latest:
            tally.undecided += 1
            continue
        item = each.item
        tally.groups[item.kind, item.policy, item.version][_verdict(latest.values())] += 1
        for one, other in combinations(sorted(latest), 2):
            tally.pairs[one, other].append((latest[one], latest[other]))
    return ReviewStatistics(
        items=tally.items,
        undecided=tally.undecided,
        outcomes=tuple(_outcome(group, counts) for group, counts in _in_order(tally.groups)),
        agreements=tuple(_agreement(names, pairs) for names, pairs in sorted(tally.pairs.items())),
    )


def _verdict(answers: Iterable[Answer]) -> str:
    decisive = set(answers) - {"unsure"}
    if len(decisive) > 1:
        return "disputed"
    return decisive.pop() if decisive else "unsure"


def _in_order(groups: dict[_Group, Counter[str]]) -> list[tuple[_Group, Counter[str]]]:
    return sorted(groups.items(), key=lambda each: tuple(part or "" for part in each[0]))


def _outcome(group: _Group, counts: Counter[str]) -> GroupStatistics:
    kind, policy, version = group
    upheld, rejected = counts["uphold"], counts["reject"]
    return GroupStatistics(
        kind=kind,
        policy=policy,
        version=version,
        upheld=upheld,
        rejected=rejected,
        disputed=counts["disputed"],
        unsure=counts["unsure"],
        right=Share.of(upheld, upheld + rejected),
        wrong=Share.of(rejected, upheld + rejected),
    )


def _agreement(names: tuple[str, str], pairs: _Pairs) -> Agreement:
    agreed = sum(one == other for one, other in pairs)
    return Agreement(names, len(pairs), agreed, agreed / len(pairs), cohens_kappa(pairs))


def cohens_kappa(pairs: _Pairs) -> float | None:
    """Measure agreement beyond chance (J. Cohen, 1960).

    Args:
        pairs: Two reviewers' answers to the same items; at least one.

    Returns:
        From -1 to 1; None where each reviewer gave the same answer to everything, so that
        chance alone explains their agreement.
    """
    number = len(pairs)
    agreed = sum(one == other for one, other in pairs)
    ones = Counter(one for one, _ in pairs)
    others = Counter(other for _, other in pairs)
    # In whole numbers until the end: exact, and 0 is 0.
    by_chance = sum(ones[answer] * others[answer] for answer in ones)
    if by_chance == number**2:
        return None
    return (agreed * number - by_chance) / (number**2 - by_chance)
