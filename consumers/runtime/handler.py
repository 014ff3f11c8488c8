"""What a route's module has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from events.event import ObjectCreated


class Handler(Protocol):
    """Does one route's work. Everything it does can be done twice.

    A handler is called from one thread at a time per worker.
    """

    @property
    def group(self) -> int:
        """The most events that it takes in one call."""
        ...

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        """Do the work that the events ask for.

        Args:
            events: At least one, at most `group`.

        Returns:
            For each event, in order, None when it is done, or how it failed.

        Raises:
            ConfigurationError: This process can do nothing; it gives back what
                it has in hand, and ends.
        """
        ...

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Put on record, where people look, that the event became a dead letter."""
        ...
