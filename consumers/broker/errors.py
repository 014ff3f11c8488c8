"""What can go wrong between dropscribe and its broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from consumers.errors import TransientError
from events.routes import Route


class BrokerLostError(TransientError):
    """The broker is unreachable or refuses; deliveries in hand will be delivered again."""


class MissingQueueError(TransientError):
    """A queue does not exist until bootstrap declares it."""


@contextmanager
def skip_missing(route: Route) -> Iterator[None]:
    """End the block early if a queue does not exist, and its route is optional."""
    try:
        yield
    except MissingQueueError:
        if not route.is_optional:
            raise
