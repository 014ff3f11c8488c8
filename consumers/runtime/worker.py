"""Doing the work of deliveries: events to the handler, errors to verdicts, one log line each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consumers.broker.delivery import Delivery
from consumers.broker.verdict import DeadLetter, Retry, Verdict, name_of
from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.runtime.call_summary import Accountant, CallSummary
from consumers.runtime.handler import Handler
from consumers.runtime.retry_policy import combined, verdict_for
from events.event import ObjectCreated
from events.keys import batch_of
from events.notification import MalformedNotificationError, decode


class LostError(PermanentError):
    """A delivery came back too often without a verdict."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A delivery whose work is over.

    Attributes:
        delivery: Which.
        verdict: How it is to end.
        seconds: How long it was in work.
    """

    delivery: Delivery
    verdict: Verdict
    seconds: float


class Worker:
    """Gives each delivery its verdict, whatever its handler does.

    Args:
        handler: Does the work.
        log: A structlog logger.
        delays: Seconds to wait after each failed attempt.
        accountant: Keeps account of what the handler does.
    """

    def __init__(
        self, *, handler: Handler, log: Any, delays: tuple[float, ...], accountant: Accountant
    ) -> None:
        self._handler = handler
        self._log = log
        self._delays = delays
        self._accountant = accountant

    def judged(self, group: Sequence[Delivery]) -> Sequence[Judged]:
        """Do a group's work; one verdict for each delivery, whatever happens."""
        started = time.monotonic()
        verdicts: dict[Delivery, list[Verdict]] = {delivery: [] for delivery in group}
        work: list[tuple[Delivery, ObjectCreated]] = []
        for delivery in group:
            try:
                events = decode(delivery.body)
            except MalformedNotificationError as exc:
                verdicts[delivery].append(self._malformed(delivery, exc))
                continue
            if delivery.is_lost and events:
                verdicts[delivery].append(self._lost(delivery, events))
            else:
                work += [(delivery, event) for event in events]
        size = self._handler.group
        for begin in range(0, len(work), size):
            chunk = work[begin : begin + size]
            with self._accountant.account([event for _, event in chunk]) as account:
                errors = self._handled([event for _, event in chunk])
            for (delivery, event), error in zip(chunk, errors, strict=True):
                verdict = verdict_for(error, delivery.attempt, self._delays)
                verdicts[delivery].append(verdict)
                seconds = time.monotonic() - started
                self._record(delivery, event, verdict, error, seconds, account)
        seconds = time.monotonic() - started
        return [Judged(delivery, combined(verdicts[delivery]), seconds) for delivery in group]

    def _malformed(self, delivery: Delivery, error: Exception) -> DeadLetter:
        verdict = DeadLetter("malformed", str(error))
        self._log.error(
            "delivery", batch=None, error=verdict.error, **_words(delivery, verdict, 0.0)
        )
        return verdict

    def _lost(self, delivery: Delivery, events: Sequence[ObjectCreated]) -> DeadLetter:
        """Give up, without a try, what may be what consumers die of."""
        verdict = DeadLetter(
            "lost",
            f"it came back {delivery.losses} times without a verdict: it may be what its "
            "consumers die of",
        )
        account = CallSummary(events)
        for event in events:
            self._record(delivery, event, verdict, LostError(verdict.error), 0.0, account)
        return verdict

    def _handled(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        """Call the handler; an error of the call itself is isolated to its event."""
        try:
            return self._handler.handle(events)
        except ConfigurationError:
            # Nothing that this process takes can be done: it ends.
            raise
        except TransientError as exc:
            # What is away is away for all of them.
            return [exc] * len(events)
        except Exception as exc:
            if len(events) == 1:
                return [exc]
            self._log.warning(
                "group failed, one by one",
                batch=", ".join(sorted({str(batch_of(event.key)) for event in events})),
                size=len(events),
                exc_info=True,
            )
            return [error for event in events for error in self._handled([event])]

    def _record(
        self,
        delivery: Delivery,
        event: ObjectCreated,
        verdict: Verdict,
        error: Exception | None,
        seconds: float,
        account: CallSummary,
    ) -> None:
        """Write the delivery's one log line, and tell people of what is dead."""
        line = self._log.bind(
            key=event.key, **_words(delivery, verdict, seconds), **account.words(event)
        )
        if error is None:
            line.info("delivery")
            return
        # Our own errors say it in words; of anything else the trace is wanted.
        known = isinstance(verdict, DeadLetter) and verdict.reason != "unexpected"
        trace = None if known or isinstance(error, TransientError) else error
        line.warning("delivery", error=str(error), exc_info=trace)
        if isinstance(verdict, DeadLetter):
            try:
                self._handler.give_up(event, verdict.error)
            except Exception:
                line.exception("could not put the dead letter on record")


def _words(delivery: Delivery, verdict: Verdict, seconds: float) -> dict[str, Any]:
    """Give what a log line says of a delivery's end."""
    words: dict[str, Any] = {
        "verdict": name_of(verdict),
        "attempt": delivery.attempt,
        "seconds": round(seconds, 3),
    }
    if isinstance(verdict, Retry):
        words["retry_in"] = verdict.after
    elif isinstance(verdict, DeadLetter):
        words["reason"] = verdict.reason
    return words
