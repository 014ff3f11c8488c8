"""A thing that is to be there, and what it means when a server refuses to make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from consumers.errors import ConfigurationError, TransientError
from events.routes import Route

#: How stores say that there is no such bucket, or nothing of that kind in it.
_ABSENT = {
    "404",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is to be there.

    Attributes:
        what: The thing.
        changed: Whether it was made, or altered, now; in a dry run, whether it
            would be.
    """

    what: str
    changed: bool


def kept(route: Route, waiting: int, dead: int) -> Step:
    """Tell that the queues of a route stay which is not set up any more.

    Args:
        route: Whose.
        waiting: Messages in them.
        dead: Dead letters.
    """
    what = f"queues of {route.name}, which is off, are kept ({waiting} waiting, {dead} dead)"
    return Step(what, changed=False)


@contextmanager
def refusals(server: str) -> Iterator[None]:
    """Translate what botocore raises within the block.

    Args:
        server: Who is asked, as people call it.

    Raises:
        ConfigurationError: It refuses.
        TransientError: It can't be reached.
    """
    try:
        yield
    except ClientError as exc:
        raise ConfigurationError(f"{server} refuses: {exc}") from exc
    except BotoCoreError as exc:
        raise TransientError(f"{server} can't be reached: {exc}") from exc


def found(read: Callable[..., Any], **parameters: Any) -> dict[str, Any] | None:
    """Ask for what may not be there.

    Returns:
        botocore's answer without its metadata; None where there is nothing.
    """
    try:
        answer: dict[str, Any] = read(**parameters)
    except ClientError as exc:
        if exc.response.get("Error", {}).get("Code") in _ABSENT:
            return None
        raise
    answer.pop("ResponseMetadata", None)
    return answer
