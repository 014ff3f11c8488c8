"""Whether the loops of a process are alive, connected and at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class LoopHealth:
    """The state of one loop: written by the loop's thread, read by any.

    Attributes:
        route: The loop's route.
        is_connected: Whether the loop is connected to the broker.
        in_hand: Received deliveries that are not settled.
        settled: Deliveries that were settled.
        has_died: Whether the loop failed, so that the process has to end.
    """

    def __init__(self, route: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.route = route
        self.is_connected = False
        self.in_hand = 0
        self.settled = 0
        self.has_died = False
        self._clock = clock
        self._turned_at: float | None = None

    def turn(self) -> None:
        """Record a turn of the loop."""
        self._turned_at = self._clock()

    @property
    def still_for(self) -> float:
        """Seconds since the last turn; 0 before the first, as models take long to load."""
        return 0.0 if self._turned_at is None else self._clock() - self._turned_at


class ProcessHealth:
    """The state of a process: of all its loops together.

    Args:
        loops: The state of each loop.
        hung_after: Seconds without a turn after which a loop counts as hung.
    """

    def __init__(self, loops: Sequence[LoopHealth], *, hung_after: float) -> None:
        self.loops = loops
        self._hung_after = hung_after
        self.is_stopping = False

    @property
    def troubles(self) -> list[str]:
        """Describe each loop that hangs or has died. A missing broker is no trouble."""
        return [*filter(None, map(self._trouble, self.loops))]

    def _trouble(self, loop: LoopHealth) -> str | None:
        if loop.has_died:
            return f"{loop.route} has died"
        if (seconds := loop.still_for) > self._hung_after:
            return f"{loop.route} hangs: its connection's thread has not turned for {seconds:.0f} s"
        return None

    @property
    def unready(self) -> list[str]:
        """The reasons why the process takes no work; empty if it does."""
        if self.is_stopping:
            return ["the consumer is stopping"]
        return self.troubles + [
            f"{loop.route} is not connected to the broker"
            for loop in self.loops
            if not loop.is_connected
        ]

    @property
    def summary(self) -> str:
        """One line for people: what each loop is doing."""
        parts = (
            f"{loop.route} {'connected' if loop.is_connected else 'not connected'}, "
            f"{loop.in_hand} in hand, {loop.settled} settled"
            for loop in self.loops
        )
        return "; ".join((*(["stopping"] if self.is_stopping else []), *self.troubles, *parts))
