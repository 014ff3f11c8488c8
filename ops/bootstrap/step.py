"""Steps of bootstrap, and the translation of a server's refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from consumers.errors import ConfigurationError, TransientError
from events.routes import Route


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that bootstrap ensures.

    Attributes:
        what: The thing, for people.
        changed: Whether the step changes it; in a dry run, whether it would.
        apply: Makes the change.
    """

    what: str
    changed: bool
    apply: Callable[[], object] = lambda: None


def applied(steps: Iterable[Step], *, dry_run: bool) -> Iterator[Step]:
    """Make the change of each step before the next step is planned; none in a dry run."""
    for step in steps:
        if step.changed and not dry_run:
            step.apply()
        yield step


def kept(route: Route, waiting: int, dead: int) -> Step:
    """Report that the queues of a route that is off are kept, with so many messages."""
    what = f"queues of {route.name}, which is off, are kept ({waiting} waiting, {dead} dead)"
    return Step(what, changed=False)


@contextmanager
def refusals(server: str) -> Iterator[None]:
    """Translate botocore's errors within the block.

    Raises:
        ConfigurationError: The server refuses a request.
        TransientError: The server is unreachable.
    """
    try:
        yield
    except ClientError as exc:
        raise ConfigurationError(f"{server} rejected the request: {exc}") from exc
    except BotoCoreError as exc:
        raise TransientError(f"{server} is unreachable: {exc}") from exc
