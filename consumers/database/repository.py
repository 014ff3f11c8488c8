"""The base of all repositories: named queries over a pool of connections.

``sql/*.sql`` has each query under a line ``-- name: its_name``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, LiteralString, cast

from consumers.database.pool import Connection, Pool, translated
from consumers.database.rows import T, values_of

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def queries() -> Mapping[str, LiteralString]:
    """All queries by name."""
    found: dict[str, LiteralString] = {}
    folder = files("consumers.database") / "sql"
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        parts = _NAME.split(path.read_text(encoding="utf-8"))
        # These are our own files, so their text may count as literal SQL.
        found.update(zip(parts[1::2], cast("list[LiteralString]", parts[2::2]), strict=True))
    return MappingProxyType(found)


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
        """Open a transaction whose statements are sent together, as their results are not read.

        A statement's error is raised at the end of the block.
        """
        with (
            translated(),
            self._pool.connection() as connection,
            connection.pipeline(),
            connection.transaction(),
        ):
            yield connection

    def _execute(self, name: str, /, **parameters: object) -> None:
        with translated(), self._pool.connection() as connection:
            connection.execute(self._sql[name], parameters)

    def _execute_all(self, *names: str, **parameters: object) -> None:
        """Run several statements with the same parameters in one transaction."""
        with self._one_trip() as connection:
            for name in names:
                connection.execute(self._sql[name], parameters)

    def _rows(self, name: str, /, **parameters: object) -> list[dict[str, Any]]:
        with translated(), self._pool.connection() as connection:
            return connection.execute(self._sql[name], parameters).fetchall()

    def _values(self, kind: type[T], name: str, /, **parameters: object) -> list[T]:
        """Run a query whose rows are values of a dataclass; see `values_of`."""
        return values_of(kind, self._rows(name, **parameters))

    def _pages(
        self, name: str, /, by: str, after: object, **parameters: object
    ) -> Iterator[list[dict[str, Any]]]:
        """Run a query again and again, each time for the rows after the last one.

        Args:
            name: The query, which has a parameter ``after`` and a limit.
            by: The column in whose order the rows are.
            after: A value before all of that column's.
            parameters: The query's others.
        """
        while rows := self._rows(name, after=after, **parameters):
            yield rows
            after = rows[-1][by]
