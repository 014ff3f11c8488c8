"""Dead-letter queues: their messages, written by dropscribe or moved there by the broker."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
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
    """Why, after how many attempts and when a message died; None for what is unknown."""

    error: str
    attempts: int | None
    dead_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A message in a dead-letter queue; see `BrokerDeath`.

    Attributes:
        id: Stays the same while the message is in the queue.
        route: The one whose queue it came from, and returns to.
        reason: One of `consumers.broker.verdict.REASONS`.
        body: As the store sent it.
        events: Those of the body; none if it is not a notification.
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
    def read(cls, letter_id: str, route: Route, stored: str | bytes, death: BrokerDeath) -> Self:
        """Read the body of a message: as `Inbox` writes it, or anything that the broker moved.

        ``death`` is for one that dropscribe did not write.
        """
        reason, body = "lost", stored
        if ours := _ours(stored):
            reason, body = _encodable(ours["reason"]), _encodable(ours["body"])
            attempts, dead_at = _count(ours.get("attempts")), _time(ours.get("dead_at"))
            death = BrokerDeath(_encodable(ours["error"]), attempts, dead_at)
        events = _events(body)
        return cls(
            letter_id, route, reason, death.error, death.attempts, death.dead_at, body, events
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its events' objects."""
        return tuple(_encodable(event.key) for event in self.events)

    @property
    def batches(self) -> tuple[BatchId, ...]:
        """The batches that `keys` name, each once."""
        found = (batch_of(key) for key in self.keys)
        return tuple(dict.fromkeys(batch for batch in found if batch is not None))

    @property
    def text(self) -> str:
        """The body as text, whatever its bytes are."""
        if isinstance(self.body, str):
            return self.body
        return self.body.decode(errors="backslashreplace")


class DeadLetterIds:
    """The ids of one queue's messages, in their order.

    An id is derived from route and content. Messages that are equal to the last byte are
    interchangeable, so these are numbered: ``1f6e0a9b2c3d``, ``1f6e0a9b2c3d-2``, ...
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._seen: Counter[str] = Counter()

    def of(self, stored: str | bytes) -> str:
        """Derive the next message's id."""
        content = stored.encode(errors="surrogatepass") if isinstance(stored, str) else stored
        digest = hashlib.sha256(self._route.name.encode() + b"\n" + content).hexdigest()
        found = digest[:_DIGITS]
        self._seen[found] += 1
        return found if self._seen[found] == 1 else f"{found}-{self._seen[found]}"


@dataclass(frozen=True, slots=True)
class HeldDeadLetter:
    """A dead letter that is invisible to everybody else while it is held.

    ``discard`` deletes it from its queue, or raises `BrokerLostError`.
    """

    letter: StoredDeadLetter
    discard: Callable[[], None]


class DeadLetterWalk(Protocol):
    """One walk through a route's dead letters, by one thread.

    Every method raises `BrokerLostError` if the broker is unreachable or refuses, and
    `MissingQueueError` if the queue does not exist.
    """

    def count(self) -> int:
        """Count the dead letters that nobody holds; SQS does so approximately."""

    def held(self) -> Iterator[HeldDeadLetter]:
        """Iterate over the dead letters, each once.

        Later arrivals are left out, as a replayed message may be dead again at once.
        """

    def close(self) -> None:
        """Put those not discarded back; if this process dies, they are back within a minute."""


@dataclass(frozen=True, slots=True)
class DeadLetterQueues:
    """The dead-letter queues of all routes, connected to for each request and each walk."""

    open_walk: Callable[[Route], DeadLetterWalk]

    def count(self, route: Route) -> int:
        """See `DeadLetterWalk`."""
        with closing(self.open_walk(route)) as walk:
            return walk.count()

    @contextmanager
    def walk(self, route: Route) -> Iterator[Iterator[HeldDeadLetter]]:
        """See `DeadLetterWalk`."""
        with closing(self.open_walk(route)) as walk:
            yield walk.held()


def as_text(body: bytes | str) -> bytes | str:
    """Decode UTF-8, in which dropscribe writes; leave anything else."""
    try:
        return body.decode() if isinstance(body, bytes) else body
    except UnicodeDecodeError:
        return body


def _ours(stored: str | bytes) -> dict[str, Any] | None:
    """Parse a dead letter that dropscribe wrote; None for any other message."""
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
    """Replace lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
