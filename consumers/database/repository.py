"""The base of all repositories: named queries over a pool of connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from consumers.database.pool import Connection, Pool, translated
from consumers.database.queries import queries
from consumers.database.rows import T, rows_of


class Repository:
    """Named queries, each on a connection of the pool. Safe to use from many threads.

    Every method raises `TransientError` where Postgres is unreachable.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = queries()

    def close(self) -> None:
        """Close the pool's connections."""
        self._pool.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(), self._pool.connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def _one_trip(self) -> Iterator[Connection]:
        """Run a transaction whose statements are sent together, as their results are not read.

        A statement's error is raised at the end of the block.
        """
        with (
            translated(),
            self._pool.connection() as connection,
            connection.pipeline(),
            connection.transaction(),
        ):
            yield connection

    def _execute(self, name: str, parameters: Mapping[str, object]) -> None:
        with translated(), self._pool.connection() as connection:
            connection.execute(self._sql[name], parameters)

    def _rows(self, name: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        with translated(), self._pool.connection() as connection:
            return connection.execute(self._sql[name], parameters).fetchall()

    def _values(self, kind: type[T], name: str, parameters: Mapping[str, object]) -> list[T]:
        """Run a query whose rows are values of a dataclass; see `rows_of`."""
        with (
            translated(),
            self._pool.connection() as connection,
            connection.cursor(row_factory=rows_of(kind)) as cursor,
        ):
            return cursor.execute(self._sql[name], parameters).fetchall()
