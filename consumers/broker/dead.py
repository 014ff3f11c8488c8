"""The dead-letter queues: what lies in them can be looked at, and taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from consumers.broker.letter import Letter
from events.routes import Route


@dataclass(frozen=True, slots=True)
class Held:
    """A letter that is held, so that nobody else has it at the same time.

    Attributes:
        letter: What it says.
        discard: Takes it out of its queue for ever. Raises BrokerLostError.
    """

    letter: Letter
    discard: Callable[[], None]


class DeadLetters(Protocol):
    """The dead-letter queues. Belongs to one thread."""

    def count(self, route: Route) -> int:
        """Count the route's letters that nobody holds; SQS does so approximately.

        Raises:
            BrokerLostError: The broker can't be reached, or refuses.
            MissingQueueError: The queue is not there.
        """

    def walk(self, route: Route) -> AbstractContextManager[Iterator[Held]]:
        """Go through the route's letters, each once.

        Those that come while it goes on are left out: what is replayed may be
        dead again at once. When the block ends, what was not discarded is back
        in its queue; where this process dies, after a minute at the latest.

        Raises:
            BrokerLostError: The broker can't be reached, or refuses.
            MissingQueueError: The queue is not there.
        """
