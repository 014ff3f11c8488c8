"""The queries of `dropscribe health`, which write nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from consumers.database.pool import Pool
from consumers.database.repository import Repository
from events.keys import BatchId

#: The index that completion needs: see the first migration.
INDEX = "recordings_unfinished"


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """The server's state.

    Attributes:
        connections: Of all clients.
        most: The limit for clients that are not superusers.
        version: PostgreSQL's.
        has_index: Whether completion's index is valid; None where it does not exist.
    """

    connections: int
    most: int
    version: str
    has_index: bool | None


@dataclass(frozen=True, slots=True)
class CompletionTiming:
    """The time to find out whether a batch is complete, and whether Postgres used its index."""

    seconds: float
    by_index: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """Archives, recordings or batches that wait for a stage.

    ``oldest`` is the time since the first of them arrived, in seconds; None where none waits.
    """

    route: str
    waiting: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class IdleBatch:
    """A batch without progress.

    Attributes:
        stage: The route that it waits for, or ``completion``.
        is_stalled: Whether the reason is recorded: a dead letter.
        idle: Seconds since its last progress.
        number: All such batches, stalled or not as this one.
    """

    batch_id: str
    stage: str
    is_stalled: bool
    idle: float
    number: int


@dataclass(frozen=True, slots=True)
class LastSweep:
    """The last finished sweep, with its discrepancies, and the repaired ones, by kind.

    It ``ended`` so many seconds after 1970, and ``age`` seconds ago.
    """

    ended: float
    age: float
    found: Mapping[str, int]
    repaired: Mapping[str, int]


class HealthRepository(Repository):
    """Read-only queries about the state of batches and server, within a ``limit`` each.

    The pool's user needs the role ``dropscribe_read``.
    """

    def __init__(self, pool: Pool, limit: timedelta) -> None:
        super().__init__(pool)
        self._limit = limit

    def server(self) -> DatabaseServer:
        """Read the server's version and connections, and whether completion's index is valid."""
        return DatabaseServer(**self._ask("health_server")[0])

    def completion(self) -> CompletionTiming:
        """Time completion's query for a batch in progress, or for the latest one."""
        batches = self._ask("health_open_batch")
        batch_id = batches[0]["batch_id"] if batches else ""
        (plan,) = self._ask("health_completion", batch_id=batch_id)[0]["QUERY PLAN"]
        seconds = (plan["Planning Time"] + plan["Execution Time"]) / 1000
        return CompletionTiming(seconds, INDEX in _indexes(plan["Plan"]))

    def kept_archives(self) -> int:
        """Count the archives that are kept as something of them is missing from the result."""
        return int(self._rows("count_kept")[0]["number"])

    def is_moderated(self) -> bool:
        """Whether new batches wait for verdicts."""
        return bool(self._ask("health_moderation")[0]["is_on"])

    def longest(self) -> float | None:
        """Seconds of the last week's longest recording."""
        longest: float | None = self._ask("health_longest")[0]["longest"]
        return longest

    def backlogs(self) -> list[Backlog]:
        """Count the work that waits for each stage."""
        return [Backlog(**row) for row in self._ask("health_stages")]

    def unread(
        self, keys: Sequence[str], batches: Sequence[BatchId | None], etags: Sequence[str]
    ) -> set[str]:
        """Choose the keys of archives that were not read to their end.

        ``batches`` are those that the keys name; None for a key that names none.
        """
        named = [None if batch is None else str(batch) for batch in batches]
        rows = self._ask("health_archives", keys=list(keys), batches=named, etags=list(etags))
        return {row["key"] for row in rows}

    def idle_batches(self, stuck_after: timedelta, limit: int) -> list[IdleBatch]:
        """Find batches without progress, the ``limit`` most idle ones of each kind.

        A batch is stuck after this time without progress, unless it waits behind older
        batches that progress.
        """
        rows = self._ask("health_batches", stuck_after=stuck_after, limit=limit)
        return [IdleBatch(**row) for row in rows]

    def last_sweep(self) -> LastSweep | None:
        """Return the last finished sweep; None if none is on record."""
        rows = self._ask("health_sweep")
        return LastSweep(**rows[0]) if rows else None

    def _ask(self, name: str, /, **parameters: object) -> list[Any]:
        limit = str(round(self._limit.total_seconds() * 1000))
        with self._transaction() as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [limit])
            return connection.execute(self._sql[name], parameters).fetchall()


def _indexes(plan: Mapping[str, Any]) -> Iterator[str]:
    """The names of the indexes that a plan uses."""
    if "Index Name" in plan:
        yield plan["Index Name"]
    for part in plan.get("Plans", ()):
        yield from _indexes(part)
