"""What decisions add up to: how often the machine is right, and how far people agree.

Each reviewer counts with the latest decision on an item. An item that somebody
upholds and somebody rejects is disputed, and counts neither way; ``unsure``
counts neither way, too.
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
    """A share, and where it lies with 95 % confidence; all from 0 to 1.

    The interval is Wilson's, which holds for few and for extreme counts, too
    (E. B. Wilson, 1927; "score interval, without continuity correction").

    Attributes:
        part: How many.
        whole: Out of how many; at least 1.
        value: The one by the other.
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
        """Make a share; None of nothing."""
        if whole == 0:
            return None
        value = part / whole
        spread = 1 + _Z**2 / whole
        middle = (value + _Z**2 / (2 * whole)) / spread
        half = _Z / spread * math.sqrt(value * (1 - value) / whole + _Z**2 / (4 * whole**2))
        # The ends meet the share exactly where it is 0 or 1, but for rounding.
        low, high = min(value, middle - half), max(value, middle + half)
        return cls(part, whole, value, max(0.0, low), min(1.0, high))


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """How reviewers found one kind of items.

    Attributes:
        kind: Which.
        policy: Of flagged ones: by which policy.
        version: Of that policy.
        upheld: Items of which the finding is right.
        rejected: Items of which it is wrong.
        disputed: Items on which reviewers disagree.
        unsure: Items that nobody could tell.
        right: The share of upheld items in those that are upheld or rejected; of
            flagged ones that is the policy's precision. None where there are none.
        wrong: The other share; of a sample that is what the policies miss, among the
            windows that they do not flag.
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
    """How far two reviewers agree on the items that both decided.

    Attributes:
        reviewers: Both, by name.
        items: How many.
        agreed: On how many they say the same.
        share: The one by the other.
        kappa: Cohen's, of all three answers: 1 is full agreement, 0 what chance gives.
            None where each gave one and the same answer to everything.
    """

    reviewers: tuple[str, str]
    items: int
    agreed: int
    share: float
    kappa: float | None


@dataclass(frozen=True, slots=True)
class ReviewStatistics:
    """All of them.

    Attributes:
        items: How many there are.
        undecided: How many of them nobody decided.
        outcomes: By kind, policy and version.
        agreements: By pair of reviewers.
    """

    items: int
    undecided: int
    outcomes: tuple[GroupStatistics, ...]
    agreements: tuple[Agreement, ...]

    def to_document(self) -> dict[str, Any]:
        """Give what ``--json`` says."""
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
    """Add up what was decided; items come one by one, and are not kept."""
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
        From -1 to 1; None where chance alone makes them agree on everything, as each
        gave one and the same answer throughout.
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
