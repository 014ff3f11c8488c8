"""Dead-letter queues: their messages, written by dropscribe or moved there by the broker."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, Self

from events.event import ObjectCreated
from events.keys import BatchId, batch_of
from events.notification import MalformedNotificationError, decode
from events.routes import Route

#: Hexadecimal digits of an id.
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class BrokerDeath:
    """What a broker says of a message that it moved among the dead letters itself.

    Attributes:
        error: Why, for people.
        attempts: Which attempt the message's headers say it was.
        dead_at: When; None where the broker does not tell.
    """

    error: str
    attempts: int
    dead_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A message that the consumers could not do, and all that is known of it.

    Attributes:
        id: Stays the same for as long as it lies there.
        route: Whose queue it came from, and goes back to.
        reason: One of `consumers.broker.verdict.REASONS`.
        error: What went wrong, for people.
        attempts: How often it was tried; None where it does not say.
        dead_at: Since when it is dead; None where nobody knows.
        body: What the store sent.
        events: What that announces; none where it is no notification.
    """

    id: str
    route: Route
    reason: str
    error: str
    attempts: int | None
    dead_at: datetime | None
    body: str | bytes
    events: tuple[ObjectCreated, ...]

    @classmethod
    def read(cls, letter_id: str, route: Route, stored: str | bytes, mark: BrokerDeath) -> Self:
        """Read what lies in the route's dead-letter queue, whatever it is.

        Args:
            letter_id: Its id.
            route: The queue's.
            stored: The message's body: a dead letter as
                `consumers.broker.inbox.Inbox` writes it, or anything.
            mark: What the broker says of it where it is no such letter.
        """
        ours = _ours(stored)
        body = stored if ours is None else _encodable(ours["body"])
        return cls(
            id=letter_id,
            route=route,
            reason="lost" if ours is None else _encodable(ours["reason"]),
            error=mark.error if ours is None else _encodable(ours["error"]),
            attempts=mark.attempts if ours is None else _count(ours.get("attempts")),
            dead_at=mark.dead_at if ours is None else _time(ours.get("dead_at")),
            body=body,
            events=_events(body),
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The objects that it tells of."""
        return tuple(_encodable(event.key) for event in self.events)

    @property
    def batches(self) -> tuple[BatchId, ...]:
        """The batches that their keys name, each once."""
        found = (batch_of(key) for key in self.keys)
        return tuple(dict.fromkeys(batch for batch in found if batch is not None))

    @property
    def text(self) -> str:
        """The body as text, whatever its bytes are."""
        if isinstance(self.body, str):
            return self.body
        return self.body.decode(errors="backslashreplace")


class DeadLetterIds:
    """Gives the letters of one queue their ids, in the order in which they lie there.

    An id is made of route and content. Where letters are equal to the last
    byte it does not matter which is which, so they are only counted:
    ``1f6e0a9b2c3d``, ``1f6e0a9b2c3d-2``, ...
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._seen: Counter[str] = Counter()

    def of(self, stored: str | bytes) -> str:
        """Give the next letter's id."""
        content = stored.encode(errors="surrogatepass") if isinstance(stored, str) else stored
        digest = hashlib.sha256(self._route.name.encode() + b"\n" + content).hexdigest()
        found = digest[:_DIGITS]
        self._seen[found] += 1
        return found if self._seen[found] == 1 else f"{found}-{self._seen[found]}"


@dataclass(frozen=True, slots=True)
class HeldDeadLetter:
    """A letter that is held, so that nobody else has it at the same time.

    Attributes:
        letter: What it says.
        discard: Takes it out of its queue for ever. Raises BrokerLostError.
    """

    letter: StoredDeadLetter
    discard: Callable[[], None]


class DeadLetterQueues(Protocol):
    """The dead-letter queues. Belongs to one thread."""

    def count(self, route: Route) -> int:
        """Count the route's letters that nobody holds; SQS does so approximately.

        Raises:
            BrokerLostError: The broker can't be reached, or refuses.
            MissingQueueError: The queue is not there.
        """

    def walk(self, route: Route) -> AbstractContextManager[Iterator[HeldDeadLetter]]:
        """Go through the route's letters, each once.

        Those that come while it goes on are left out: what is replayed may be
        dead again at once. When the block ends, what was not discarded is back
        in its queue; where this process dies, after a minute at the latest.

        Raises:
            BrokerLostError: The broker can't be reached, or refuses.
            MissingQueueError: The queue is not there.
        """


def _ours(stored: str | bytes) -> dict[str, Any] | None:
    """Read a letter that dropscribe wrote; None where it is none."""
    try:
        letter = json.loads(stored)
    except (ValueError, RecursionError):
        return None
    if not isinstance(letter, dict):
        return None
    is_ours = all(isinstance(letter.get(name), str) for name in ("reason", "error", "body"))
    return letter if is_ours else None


def _events(body: str | bytes) -> tuple[ObjectCreated, ...]:
    try:
        return decode(body)
    except MalformedNotificationError:
        return ()


def _encodable(text: str) -> str:
    """Replace what JSON can name and UTF-8 can't: halves of characters."""
    return text.encode(errors="replace").decode()


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
