"""Running named queries over a pool: what all of the tables' classes share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from consumers.database.pool import Connection, Pool, translated
from consumers.database.queries import queries


class Repository:
    """Named queries, each on a connection of the pool's. Safe to use from many threads.

    Every method raises `TransientError` where Postgres is away.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = queries()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(), self._pool.connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def _one_trip(self) -> Iterator[Connection]:
        """Run a transaction whose statements go out together, as nobody reads their results.

        What one of them is refused for is raised at the end of the block.
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
