"""Whether the loops of a process live, and are at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class LoopHealth:
    """One loop's signs of life: written by its own thread, read by any.

    Attributes:
        route: Its route.
        is_connected: Whether it is connected to the broker.
        in_hand: Deliveries that it has taken and not settled.
        settled: How many it has settled.
        has_died: Whether it broke: the process has to end.
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
        """Note that it turns."""
        self._turned_at = self._clock()

    @property
    def still_for(self) -> float:
        """Seconds since it turned; 0 before it first does, as models take long to load."""
        return 0.0 if self._turned_at is None else self._clock() - self._turned_at


class ProcessHealth:
    """What a process' pulses say together.

    Args:
        pulses: A loop's each.
        hung_after: Seconds without a turn after which a loop counts as hung.
    """

    def __init__(self, pulses: Sequence[LoopHealth], *, hung_after: float) -> None:
        self.pulses = pulses
        self._hung_after = hung_after
        self.is_stopping = False

    @property
    def troubles(self) -> list[str]:
        """Say what is wrong with each loop that hangs or has died; a broker that is away is not."""
        return [*filter(None, map(self._trouble, self.pulses))]

    def _trouble(self, pulse: LoopHealth) -> str | None:
        if pulse.has_died:
            return f"{pulse.route} has died"
        if (seconds := pulse.still_for) > self._hung_after:
            return (
                f"{pulse.route} hangs: its connection's thread has not turned for {seconds:.0f} s"
            )
        return None

    @property
    def unready(self) -> list[str]:
        """Say why no work is taken; empty where it is."""
        if self.is_stopping:
            return ["the consumer is stopping"]
        return self.troubles + [
            f"{pulse.route} is not connected to the broker"
            for pulse in self.pulses
            if not pulse.is_connected
        ]

    @property
    def words(self) -> str:
        """Give a line for people: what each loop is at."""
        parts = (
            f"{pulse.route} {'connected' if pulse.is_connected else 'not connected'}, "
            f"{pulse.in_hand} in hand, {pulse.settled} settled"
            for pulse in self.pulses
        )
        return "; ".join((*(["stopping"] if self.is_stopping else []), *self.troubles, *parts))
