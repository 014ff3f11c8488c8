"""From an error to a verdict: what is retried, when, and for how long."""

from __future__ import annotations

from collections.abc import Iterable

from consumers.broker.verdict import Ack, DeadLetter, Retry, Verdict
from consumers.errors import BusyError, PermanentError, TransientError

#: Seconds to wait after the first, second, ... failed attempt; then it is a dead letter.
RETRY_DELAYS = (10.0, 60.0, 600.0)

#: Seconds after which to look again at work that another worker has in hand.
BUSY_DELAY = 10.0


def possible_delays(delays: Iterable[float] = RETRY_DELAYS) -> tuple[float, ...]:
    """List every delay that a verdict can ask for, shortest first: each needs a queue."""
    return tuple(sorted({*delays, BUSY_DELAY}))


def verdict_for(
    error: Exception | None, attempt: int, delays: tuple[float, ...] = RETRY_DELAYS
) -> Verdict:
    """Decide on one event by its handler's error, if any, and the attempt's number, from 1."""
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

    A retry outweighs a dead letter, since handlers can be run twice, and a dead
    letter outweighs an ack: a delivery is acked only when all of its events are done.
    """
    return max(verdicts, key=_weight, default=Ack())


def _weight(verdict: Verdict) -> tuple[int, float]:
    match verdict:
        case Retry(after=after, counts=counts):
            return (3 if counts else 2, after)
        case DeadLetter():
            return (1, 0.0)
        case Ack():
            return (0, 0.0)
