"""What `dropscribe health` asks the tables, and the server. It writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from consumers.database.pool import Pool
from consumers.database.repository import Repository
from events.keys import BatchId

#: What completion asks by: see the first migration.
INDEX = "recordings_unfinished"


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """The server.

    Attributes:
        connections: Those of all clients.
        most: As many as clients can have that are no superusers.
        version: PostgreSQL's own.
        has_index: Whether completion's index is there and can be used; None where
            it is not there.
    """

    connections: int
    most: int
    version: str
    has_index: bool | None


@dataclass(frozen=True, slots=True)
class CompletionTiming:
    """How the question went whether a batch is complete.

    Attributes:
        seconds: How long it took.
        by_index: Whether it was by the index of unfinished rows.
    """

    seconds: float
    by_index: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for a stage.

    Attributes:
        route: Which.
        waiting: How many archives, recordings or batches.
        oldest: For how many seconds the oldest does; None where none does.
    """

    route: str
    waiting: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class IdleBatch:
    """A batch that does not go on.

    Attributes:
        batch_id: Its id.
        stage: For what it waits: a route, or ``completion``.
        is_stalled: Whether something says why: it is a dead letter.
        idle: Seconds since something was last written of it.
        number: How many there are of its kind.
    """

    batch_id: str
    stage: str
    is_stalled: bool
    idle: float
    number: int


@dataclass(frozen=True, slots=True)
class LastSweep:
    """The last sweep that went through.

    Attributes:
        ended: When, in seconds since 1970.
        age: How many seconds ago.
        found: How many of each kind.
        repaired: For how many it did what is to be done about them.
    """

    ended: float
    age: float
    found: Mapping[str, int]
    repaired: Mapping[str, int]


class HealthRepository(Repository):
    """The tables, as somebody sees them who may only look.

    Args:
        pool: Of a user in ``dropscribe_read``, or more.
        limit: How long a question may take.
    """

    def __init__(self, pool: Pool, limit: timedelta) -> None:
        super().__init__(pool)
        self._limit = limit

    def server(self) -> DatabaseServer:
        """Ask how the server is."""
        return DatabaseServer(**self._ask("health_server")[0])

    def completion(self) -> CompletionTiming:
        """Time what completion asks of a batch that is in work, or of the youngest."""
        batches = self._ask("health_open_batch")
        parameters = {"batch_id": batches[0]["batch_id"] if batches else ""}
        (plan,) = self._ask("health_completion", parameters)[0]["QUERY PLAN"]
        seconds = (plan["Planning Time"] + plan["Execution Time"]) / 1000
        return CompletionTiming(seconds, INDEX in _indexes(plan["Plan"]))

    def is_moderated(self) -> bool:
        """Tell whether batches that are new wait for verdicts."""
        is_on: bool = self._ask("health_moderation")[0]["is_on"]
        return is_on

    def longest(self) -> float | None:
        """Tell how many seconds the longest recording of the last week lasts."""
        longest: float | None = self._ask("health_longest")[0]["longest"]
        return longest

    def backlogs(self) -> list[Backlog]:
        """Count what waits for each stage."""
        return [Backlog(**row) for row in self._ask("health_stages")]

    def unread(
        self, keys: Sequence[str], batches: Sequence[BatchId | None], etags: Sequence[str]
    ) -> set[str]:
        """Tell which archives nobody has read to their end.

        Args:
            keys: Theirs.
            batches: The batches that the keys name, in the same order; None where one
                names none.
            etags: Theirs, in the same order.
        """
        parameters = {
            "keys": list(keys),
            "batches": [None if batch is None else str(batch) for batch in batches],
            "etags": list(etags),
        }
        return {row["key"] for row in self._ask("health_archives", parameters)}

    def idle_batches(self, stuck_after: timedelta, limit: int) -> list[IdleBatch]:
        """Find the batches that do not go on.

        Args:
            stuck_after: From when on one is stuck. One that waits behind older
                batches which go on is not.
            limit: How many to give of each kind: the most idle.
        """
        parameters = {"stuck_after": stuck_after, "limit": limit}
        return [IdleBatch(**row) for row in self._ask("health_batches", parameters)]

    def last_sweep(self) -> LastSweep | None:
        """Give the last sweep that went through; None where there is none on record."""
        rows = self._ask("health_sweep")
        return LastSweep(**rows[0]) if rows else None

    def close(self) -> None:
        """Close the pool's connections."""
        self._pool.close()

    def _ask(self, name: str, parameters: Mapping[str, object] | None = None) -> list[Any]:
        limit = str(round(self._limit.total_seconds() * 1000))
        with self._transaction() as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [limit])
            return connection.execute(self._sql[name], parameters or {}).fetchall()


def _indexes(plan: Mapping[str, Any]) -> Iterator[str]:
    """Name the indexes that a plan goes by."""
    if "Index Name" in plan:
        yield plan["Index Name"]
    for part in plan.get("Plans", ()):
        yield from _indexes(part)
