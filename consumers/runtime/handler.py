"""The interface between the runtime and a route's work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from events.event import ObjectCreated


class Handler(Protocol):
    """Does one route's work. It can be run twice for any event, and by several threads."""

    @property
    def group(self) -> int:
        """The most events in one call."""

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        """Do the work of at least one and at most `group` events.

        Returns:
            For each event, in order, None if it is done, or else its error.

        Raises:
            ConfigurationError: This process can do no work: it gives back its
                deliveries, and ends.
        """

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Record, where people look, that the event became a dead letter."""
