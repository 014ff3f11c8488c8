"""Messages: those in hand, and publishing through kombu."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kombu import Producer

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


def attempt_in(headers: Mapping[str, Any]) -> int:
    """Read the number of a message's attempt; 1 if its headers hold no valid number."""
    attempt = headers.get(ATTEMPT, 1)
    return attempt if isinstance(attempt, int) and attempt > 0 else 1


def publish(
    channel: Any,
    body: bytes | str,
    queue: str,
    headers: dict[str, object] | None = None,
    **properties: object,
) -> None:
    """Put a message into a queue, as it is, over an open channel of kombu's.

    Text is sent as UTF-8, lone surrogates as JSON escapes. ``properties`` are for kombu, or
    for its transport.
    """
    Producer(channel).publish(
        body if isinstance(body, bytes) else body.encode(errors="backslashreplace"),
        routing_key=queue,
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers or {},
        **properties,
    )
