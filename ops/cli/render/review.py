"""Review items as text. Words, paths and names in them are untrusted."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence

from consumers.documents.review.decision import Decision
from consumers.documents.review.item import ReviewItem
from consumers.documents.review.reviewed_item import ReviewedItem
from consumers.documents.review.statistics import GroupStatistics, ReviewStatistics, Share
from ops.cli.output import printable
from ops.durations import clock_time, clock_time_to_tenths

#: Characters of an item's second line, after its indent.
_SHOWN = 76

#: What each answer means, by an item's kind.
_QUESTIONS = {
    "flagged": "does it violate the policy? uphold: yes, reject: no",
    "doubtful": "are the words wrong? uphold: yes, reject: no",
    "sample": "does it violate any policy? uphold: no, reject: yes",
}


def items_in_lines(rows: Sequence[ReviewedItem]) -> Iterator[str]:
    """Write items, each as a line and an indented line, which fit 80 columns."""
    for row in rows:
        item = row.item
        yield f"{item.item_id}  {item.kind:<8}  {clock_time(item.start):>7}  {_state(row)}"
        scored = [] if item.score is None else [f"{item.policy} {item.score:.2f}"]
        text = printable("  ".join([*scored, item.path, item.text]))
        yield f"    {text if len(text) <= _SHOWN else text[: _SHOWN - 4] + ' ...'}"


def in_full(row: ReviewedItem) -> str:
    """Write what a reviewer needs to know about an item."""
    item = row.item
    heard = item.start - item.clip_start
    fields = {
        "item": item.item_id,
        "recording": f"{item.path} ({item.audio})",
        "passage": f"{clock_time_to_tenths(item.start)} to {clock_time_to_tenths(item.end)}",
        "finding": f"{item.kind}: {item.reason}",
        "policy": "" if item.policy is None else f"policies/{item.policy}/{item.version}.md",
        "clip": f"{item.clip_key} (the passage begins after {heard:.1f} s)",
        "state": _state(row),
        "question": _QUESTIONS[item.kind],
    }
    lines = [f"{name + ':':<11}{printable(value)}" for name, value in fields.items() if value]
    lines += [f"{'decided:':<11}{_decided(each)}" for each in row.decisions]
    return "\n".join([*lines, "", *_numbered(item)])


def figures_in_full(figures: ReviewStatistics) -> str:
    """Write the statistics of the decisions."""
    decided = figures.items - figures.undecided
    lines = [f"{figures.items} items, {decided} of them decided"]
    for outcome in figures.outcomes:
        lines += ["", *_outcome(outcome)]
    for agreement in figures.agreements:
        names = printable(" and ".join(agreement.reviewers))
        kappa = "not defined" if agreement.kappa is None else f"{agreement.kappa:.2f}"
        agreed = f"{agreement.agreed} of {agreement.items} items ({agreement.share:.0%})"
        lines += ["", f"{names} agree on {agreed}; Cohen's kappa: {kappa}"]
    return "\n".join(lines)


def _outcome(outcome: GroupStatistics) -> Iterator[str]:
    of = f" by {outcome.policy} ({outcome.version})" if outcome.policy else ""
    yield printable(f"{outcome.kind}{of}")
    yield (
        f"  upheld {outcome.upheld}, rejected {outcome.rejected}, "
        f"disputed {outcome.disputed}, unsure {outcome.unsure}"
    )
    if outcome.kind == "sample":
        yield f"  missed:    {_share(outcome.wrong)}"
    else:
        yield f"  precision: {_share(outcome.right)}"


def _share(share: Share | None) -> str:
    if share is None:
        return "not known yet"
    return (
        f"{share.value:.1%} of {share.whole} (95 % confidence: {share.low:.1%} to {share.high:.1%})"
    )


def _state(row: ReviewedItem) -> str:
    parts = [row.state, "superseded"] if row.is_superseded else [str(row.state)]
    if row.claimed_by is not None and row.claimed_until is not None:
        parts.append(f"{printable(row.claimed_by)} until {row.claimed_until:%H:%M:%S %Z}")
    return ", ".join(parts)


def _decided(decision: Decision) -> str:
    line = f"{decision.decision} by {decision.reviewer}, {decision.decided_at:%Y-%m-%d %H:%M:%S %Z}"
    if decision.note:
        line += f": {' '.join(decision.note.split())}"
    for each in decision.corrections:
        line += f"; word {each.word}: {each.was} -> {each.right}"
    return printable(line)


def _numbered(item: ReviewItem) -> list[str]:
    """Number the words, as `--word` takes them, in lines that fit the terminal."""
    words = " ".join(f"{number}:{printable(word)}" for number, word in enumerate(item.words, 1))
    width = max(40, shutil.get_terminal_size().columns)
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)
