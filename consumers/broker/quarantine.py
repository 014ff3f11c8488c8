"""Quarantine for suspected poison messages.

A broker counts the death of a process against everything that it had in hand. So that
no neighbour is counted out, a delivery that was redelivered without a verdict is a
suspect: once all else is settled, the worst suspect is worked on alone, and the others
are sent anew, with their counts reset.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from consumers.broker.delivery import Delivery


class Quarantine:
    """The suspects among the deliveries in hand: those with ``threshold`` losses or more."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._suspects: list[Delivery] = []
        self._alone: Delivery | None = None

    def holds_back(self, delivery: Delivery) -> bool:
        """Keep an arriving delivery here if it is a suspect."""
        if delivery.losses < self._threshold:
            return False
        self._suspects.append(delivery)
        return True

    def choose(self, in_hand: AbstractSet[Delivery]) -> tuple[Delivery, list[Delivery]] | None:
        """Choose the worst suspect, to be worked on now, and the others, to be sent anew.

        None while anything else is in hand.
        """
        if not self._suspects or len(in_hand) > len(self._suspects):
            return None
        others = sorted(self._suspects, key=lambda delivery: delivery.losses)
        self._suspects = []
        self._alone = others.pop()
        return self._alone, others

    def is_exclusive(self, in_hand: AbstractSet[Delivery]) -> bool:
        """Whether nothing may be taken beside the deliveries in hand."""
        return bool(self._suspects) or self._alone in in_hand

    def release(self) -> list[Delivery]:
        """Give up the suspects that are not begun."""
        suspects, self._suspects = self._suspects, []
        return suspects
