"""How a delivery ends: in exactly one verdict, which the inbox turns into one broker action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

#: Why a message is a dead letter.
REASONS = ("permanent", "exhausted", "unexpected", "malformed", "lost")

#: The verdicts' names in log lines and metrics: done; failed, to be retried; in
#: another worker's hands, to be looked at again; given up.
NAMES = ("ack", "retry", "wait", "dead")


@dataclass(frozen=True, slots=True)
class Ack:
    """The work is done, or there was none."""

    name: ClassVar[str] = "ack"


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver it again.

    Attributes:
        after: Seconds to wait.
        counts: Whether this was an attempt; waiting for another worker is not.
        error: What went wrong, for people.
    """

    after: float
    counts: bool
    error: str

    @property
    def name(self) -> str:
        """Its name among `NAMES`."""
        return "retry" if self.counts else "wait"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Keep it where a person can find, inspect and replay it.

    Attributes:
        reason: One of `REASONS`: ``permanent`` (the input is at fault),
            ``exhausted`` (it failed too often), ``unexpected`` (it failed too often,
            with an error that dropscribe does not know), ``malformed`` (it is not a
            notification) or ``lost`` (it was redelivered too often without a verdict,
            as a message that crashes its consumers is).
        error: What went wrong, for people.
    """

    name: ClassVar[str] = "dead"

    reason: str
    error: str


Verdict = Ack | Retry | DeadLetter
