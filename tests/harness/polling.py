"""Waiting for what comes about by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: How much longer things take where all other tests run beside them.
_BUSY = 5


def eventually(
    look: Callable[[], T | None],
    seconds: float = 60.0,
    *,
    pause: float = 0.05,
    slack: int = _BUSY,
    told: Callable[[], str] = str,
) -> T:
    """Poll until the result is true, and return it.

    Args:
        look: Gives the result.
        seconds: For how long on a machine that does nothing else.
        pause: Seconds between two looks.
        slack: How often as long it may take; 1 where the time is what is tested.
        told: What the AssertionError says besides.
    """
    deadline = time.monotonic() + slack * seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {slack * seconds:.0f} s\n{told()}"
        time.sleep(pause)
    return seen
