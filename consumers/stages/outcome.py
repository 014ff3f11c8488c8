"""How the work on an event ends."""

from __future__ import annotations

from collections.abc import Callable

from consumers.errors import PermanentError, TransientError

#: None if the work is done, or the error that ended it.
Outcome = Exception | None


def outcome_of(work: Callable[[], None]) -> Outcome:
    """Do the work. Errors other than the two kinds that are expected pass through."""
    try:
        work()
    except (PermanentError, TransientError) as exc:
        return exc
    return None
