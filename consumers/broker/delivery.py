"""One message in hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

#: The header that counts a message's attempts; absent from a store's own messages.
ATTEMPT = "dropscribe-attempt"


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One message in hand.

    Attributes:
        body: As the store, or a retry, sent it.
        attempt: Which attempt at it this is, from 1.
        losses: How often it was redelivered without a verdict.
        is_lost: Whether that was too often for another attempt.
        message: kombu's message; only for the inbox that it came from.
    """

    body: bytes | str
    attempt: int
    losses: int
    is_lost: bool
    message: Any

    @classmethod
    def of(cls, message: Any, *, losses: int, limit: int) -> Self:
        """Wrap kombu's message; it is lost from ``limit`` losses on."""
        return cls(
            body=message.body if message.body is not None else b"",
            attempt=attempt_in(message.headers),
            losses=losses,
            is_lost=losses >= limit,
            message=message,
        )


def attempt_in(headers: Mapping[str, Any]) -> int:
    """Read the number of a message's attempt; 1 if its headers hold no valid number."""
    attempt = headers.get(ATTEMPT, 1)
    return attempt if isinstance(attempt, int) and attempt > 0 else 1
