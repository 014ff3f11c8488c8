"""Steps of bootstrap, and the translation of a server's refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from consumers.errors import ConfigurationError, TransientError
from events.routes import Route

#: S3's error codes for a missing bucket, or a missing configuration of it.
_ABSENT = {
    "404",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that bootstrap ensures.

    Attributes:
        what: The thing, for people.
        changed: Whether the step changed it; in a dry run, whether it would.
    """

    what: str
    changed: bool


def kept(route: Route, waiting: int, dead: int) -> Step:
    """Report that the queues of a route that is off are kept.

    Args:
        route: The route.
        waiting: The number of messages in them.
        dead: The number of dead letters.
    """
    what = f"queues of {route.name}, which is off, are kept ({waiting} waiting, {dead} dead)"
    return Step(what, changed=False)


@contextmanager
def refusals(server: str) -> Iterator[None]:
    """Translate botocore's errors within the block.

    Args:
        server: The server's name, for people.

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


def found(read: Callable[..., Any], **parameters: Any) -> dict[str, Any] | None:
    """Read a configuration that may be missing.

    Returns:
        botocore's response without its metadata; None if there is none.
    """
    try:
        answer: dict[str, Any] = read(**parameters)
    except ClientError as exc:
        if exc.response.get("Error", {}).get("Code") in _ABSENT:
            return None
        raise
    answer.pop("ResponseMetadata", None)
    return answer
