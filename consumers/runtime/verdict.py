"""A delivery ends in exactly one verdict, decided here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from consumers.errors import BusyError, PermanentError, TransientError

#: Seconds to wait after the first, second, ... failed attempt; then it is a dead letter.
RETRY_DELAYS = (10.0, 60.0, 600.0)

#: Seconds after which to look again at work that another worker has in hand.
BUSY_DELAY = 10.0

#: Why something is a dead letter.
REASONS = ("permanent", "exhausted", "unexpected", "malformed", "lost")


@dataclass(frozen=True, slots=True)
class Ack:
    """The work is done, or there was none."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver it again.

    Attributes:
        after: Seconds to wait.
        counts: Whether it was an attempt; waiting for another worker is none.
        error: What went wrong, for people.
    """

    after: float
    counts: bool
    error: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Keep it where a person can find, inspect and replay it.

    Attributes:
        reason: One of `REASONS`: ``permanent`` (the input is at fault),
            ``exhausted`` (it failed too often), ``unexpected`` (it failed too
            often, in a way that dropscribe does not know), ``malformed`` (it is
            no notification) or ``lost`` (it came back too often without a
            verdict, as what kills its consumers does).
        error: What went wrong, for people.
    """

    reason: str
    error: str


Verdict = Ack | Retry | DeadLetter

#: What verdicts are called in log lines and figures: done, to be tried again, to
#: be looked at again when another worker is done with it, given up.
NAMES = ("ack", "retry", "wait", "dead")


def name_of(verdict: Verdict) -> str:
    """Give one of `NAMES`."""
    match verdict:
        case Ack():
            return "ack"
        case Retry(counts=counts):
            return "retry" if counts else "wait"
        case DeadLetter():
            return "dead"


def verdict_for(
    error: Exception | None, attempt: int, delays: tuple[float, ...] = RETRY_DELAYS
) -> Verdict:
    """Decide on one event.

    Args:
        error: How its handler failed; None when it did not.
        attempt: Which attempt this was, from 1.
        delays: Seconds to wait after each attempt.
    """
    if error is None:
        return Ack()
    if isinstance(error, BusyError):
        return Retry(BUSY_DELAY, counts=False, error=str(error))
    if isinstance(error, PermanentError):
        return DeadLetter("permanent", str(error))
    known = isinstance(error, TransientError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    if attempt <= len(delays):
        return Retry(delays[attempt - 1], counts=True, error=text)
    return DeadLetter("exhausted" if known else "unexpected", text)


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """Fold the verdicts on a delivery's events into the delivery's own.

    What has to be tried again comes first, as handlers can be run twice; then
    what is dead; only a delivery of which everything is done is acked.
    """
    return max(verdicts, key=_urgency, default=Ack())


def _urgency(verdict: Verdict) -> tuple[int, float]:
    match verdict:
        case Retry(after=after, counts=counts):
            return (3 if counts else 2, after)
        case DeadLetter():
            return (1, 0.0)
        case Ack():
            return (0, 0.0)
