"""The pool of connections, and the translation of Postgres' errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from consumers.errors import PermanentError, TransientError

Connection = psycopg.Connection[dict[str, object]]
Pool = ConnectionPool[Connection]

#: Seconds to wait for a connection before the work is postponed.
_PATIENCE = 30.0

#: Connection parameters of libpq: seconds, but milliseconds for ``tcp_user_timeout``.
_LIFE: dict[str, Any] = {
    "connect_timeout": 10,
    # A dead network is noticed within a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


class TextTooLongError(PermanentError):
    """A text has more different words than Postgres can index."""


def open_pool(url: str, *, size: int, name: str) -> Pool:
    """Open a pool of at most ``size`` connections.

    They are in autocommit mode, so that a connection which only holds a lock is never idle
    in a transaction. Each is checked before it is lent, so a dead one fails no work.

    Raises:
        TransientError: No connection can be made.
    """
    pool: Pool = ConnectionPool(
        url,
        connection_class=psycopg.Connection[dict[str, object]],
        kwargs={**_LIFE, "autocommit": True, "row_factory": dict_row, "application_name": name},
        configure=_configure,
        min_size=1,
        max_size=size,
        timeout=_PATIENCE,
        check=ConnectionPool.check_connection,
        name=name,
        open=False,
    )
    try:
        with translated():
            # A pool would retry a wrong password.
            psycopg.connect(url, **_LIFE).close()
            pool.open(wait=True, timeout=_PATIENCE)
    except BaseException:
        pool.close()
        raise
    return pool


def _configure(connection: Connection) -> None:
    # Each query reads a page at most; compiling it takes a hundred times as long.
    connection.execute("SET jit = off")
    # The server keeps the locks of a dead host until it notices, too.
    connection.execute("SET tcp_keepalives_idle = 30")
    connection.execute("SET tcp_keepalives_interval = 10")
    connection.execute("SET tcp_keepalives_count = 3")
    connection.execute("SET tcp_user_timeout = 60000")


@contextmanager
def translated() -> Iterator[None]:
    """Translate psycopg's errors into transient and permanent ones.

    Raises:
        TransientError: Postgres is unreachable, restarts, or aborts a transaction that
            conflicts with another.
        PermanentError: It refuses the data or the query.
    """
    try:
        yield
    except psycopg.errors.ProgramLimitExceeded as exc:
        raise TextTooLongError(f"the database refused: {exc}") from exc
    except psycopg.errors.ReadOnlySqlTransaction as exc:
        raise TransientError(f"the database is a standby: {exc}") from exc
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as exc:
        raise TransientError(f"the database is unreachable: {exc}") from exc
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as exc:
        raise TransientError(
            f"the database's schema is missing or old, run 'dropscribe bootstrap': {exc}"
        ) from exc
    except psycopg.errors.ForeignKeyViolation as exc:
        raise TransientError(
            f"a row that this one belongs to was deleted: {exc.diag.message_primary}"
        ) from exc
    except psycopg.Error as exc:
        # Without the detail, which can quote the row: speech belongs in no log.
        raise PermanentError(f"the database refused: {exc.diag.message_primary or exc}") from exc
