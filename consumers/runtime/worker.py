"""From deliveries to verdicts: the handler's work, and one log line for each delivery."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consumers.broker.delivery import Delivery
from consumers.broker.verdict import DeadLetter, Retry, Verdict
from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.portions import portions
from consumers.runtime.call_summary import CallSummary, summarised
from consumers.runtime.handler import Handler
from consumers.runtime.retry_policy import combined, verdict_for
from events.event import ObjectCreated
from events.keys import batch_of
from events.notification import MalformedNotificationError, decode


@dataclass(frozen=True, slots=True)
class Settlement:
    """A delivery whose work is over after so many seconds, to be settled with the broker."""

    delivery: Delivery
    verdict: Verdict
    seconds: float


class Worker:
    """Gives each delivery its verdict, whatever its handler does.

    Args:
        handler: Does the work.
        log: A structlog logger.
        delays: Seconds to wait after each failed attempt.
    """

    def __init__(self, *, handler: Handler, log: Any, delays: tuple[float, ...]) -> None:
        self._handler = handler
        self._log = log
        self._delays = delays

    @property
    def group(self) -> int:
        """The most deliveries in a group."""
        return self._handler.group

    def work(self, group: Sequence[Delivery]) -> Sequence[Settlement]:
        """Do the work of a group: one settlement for each delivery, whatever happens."""
        started = time.monotonic()
        verdicts: dict[Delivery, list[Verdict]] = {delivery: [] for delivery in group}
        todo: list[tuple[Delivery, ObjectCreated]] = []
        for delivery in group:
            try:
                events = decode(delivery.body)
            except MalformedNotificationError as exc:
                verdicts[delivery].append(self._malformed(delivery, exc))
                continue
            if delivery.is_lost and events:
                verdicts[delivery].append(self._lost(delivery, events))
            else:
                todo += [(delivery, event) for event in events]
        for chunk in portions(todo, self.group):
            events_in_call = [event for _, event in chunk]
            with summarised(events_in_call) as summary:
                errors = self._handled(events_in_call)
            for (delivery, event), error in zip(chunk, errors, strict=True):
                verdict = verdict_for(error, delivery.attempt, self._delays)
                verdicts[delivery].append(verdict)
                seconds = time.monotonic() - started
                self._record(delivery, event, verdict, error, seconds, summary)
        seconds = time.monotonic() - started
        return [Settlement(delivery, combined(verdicts[delivery]), seconds) for delivery in group]

    def _malformed(self, delivery: Delivery, error: Exception) -> DeadLetter:
        verdict = DeadLetter("malformed", str(error))
        self._log.error(
            "delivery", batch=None, error=verdict.error, **_fields(delivery, verdict, 0.0)
        )
        return verdict

    def _lost(self, delivery: Delivery, events: Sequence[ObjectCreated]) -> DeadLetter:
        """Give up, without a try, a delivery that may be crashing consumers."""
        verdict = DeadLetter(
            "lost",
            f"redelivered {delivery.losses} times without a verdict: it may be crashing consumers",
        )
        summary = CallSummary(events)
        for event in events:
            self._record(delivery, event, verdict, PermanentError(verdict.error), 0.0, summary)
        return verdict

    def _handled(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        """Call the handler; an error of the call itself is isolated to its event."""
        try:
            return self._handler.handle(events)
        except ConfigurationError:
            # Nothing that this process takes can be done: it ends.
            raise
        except TransientError as exc:
            # A server that is away is away for all of them.
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
        summary: CallSummary,
    ) -> None:
        """Write the delivery's one log line, and put a dead letter on record for people."""
        line = self._log.bind(
            key=event.key, **_fields(delivery, verdict, seconds), **summary.fields(event)
        )
        if error is None:
            line.info("delivery")
            return
        # dropscribe's own errors explain themselves; any other needs its trace.
        known = isinstance(verdict, DeadLetter) and verdict.reason != "unexpected"
        trace = None if known or isinstance(error, TransientError) else error
        line.warning("delivery", error=str(error), exc_info=trace)
        if isinstance(verdict, DeadLetter):
            try:
                self._handler.give_up(event, verdict.error)
            except Exception:
                line.exception("could not put the dead letter on record")


def _fields(delivery: Delivery, verdict: Verdict, seconds: float) -> dict[str, Any]:
    """Describe a delivery's end, for its log line."""
    fields: dict[str, Any] = {
        "verdict": verdict.name,
        "attempt": delivery.attempt,
        "seconds": round(seconds, 3),
    }
    if isinstance(verdict, Retry):
        fields["retry_in"] = verdict.after
    elif isinstance(verdict, DeadLetter):
        fields["reason"] = verdict.reason
    return fields
