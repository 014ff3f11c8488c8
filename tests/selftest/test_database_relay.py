"""A connection to PostgreSQL that is cut exactly at a statement."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from consumers.database.batches import BatchRepository
from consumers.database.migrate import migrate
from consumers.database.pool import open_pool
from consumers.errors import TransientError
from events.keys import BatchId
from tests.harness.faults.database_relay import DatabaseRelay, Moment
from tests.harness.polling import eventually
from tests.harness.servers.postgres import PostgresServer

INSERT = "INSERT INTO notes VALUES (%s)"


@pytest.fixture
def url(server: PostgresServer) -> str:
    """A database with a table."""
    url = server.database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE notes (note text)")
    return url


@pytest.fixture
def relay(server: PostgresServer) -> Iterator[DatabaseRelay]:
    with DatabaseRelay(server.port) as relay:
        yield relay


@pytest.fixture
def through(url: str, server: PostgresServer, relay: DatabaseRelay) -> str:
    """The same database, through the relay."""
    return url.replace(f":{server.port}/", f":{relay.port}/")


def notes(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [note for (note,) in connection.execute("SELECT note FROM notes")]


def write(client: psycopg.Connection, *notes: str) -> None:
    with client.transaction():
        for note in notes:
            client.execute(INSERT, [note])


def test_the_relay_passes_everything_by_default(url: str, through: str) -> None:
    with psycopg.connect(through) as client:
        client.execute(INSERT, ["a" * 1_000_000])
        client.execute(INSERT, ["b"])
        with client.cursor().copy("COPY notes FROM STDIN") as copy:
            copy.write_row(["copied"])

        rows = client.execute("SELECT length(note) FROM notes").fetchall()

    assert rows == [(1_000_000,), (1,), (6,)]


def test_an_error_passes_too(through: str) -> None:
    with psycopg.connect(through, autocommit=True) as client:
        with pytest.raises(psycopg.errors.DivisionByZero):
            client.execute("SELECT 1 / 0")

        assert client.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("moment", "kept"),
    [(Moment.BEFORE, []), (Moment.AFTER, ["first", "second"])],
    ids=["before: it is lost", "after: it is kept, and the client cannot know"],
)
def test_a_commit_is_cut(
    url: str, through: str, relay: DatabaseRelay, moment: Moment, kept: list[str]
) -> None:
    relay.cut_at("^COMMIT", moment)

    with psycopg.connect(through, autocommit=True) as client:
        with pytest.raises(psycopg.OperationalError):
            write(client, "first", "second")
        assert client.broken

    assert notes(url) == kept
    assert relay.hits == {moment: 1}


@pytest.mark.parametrize("runs_before", [0, 10], ids=["at its first run", "once it is prepared"])
@pytest.mark.parametrize(("moment", "kept"), [(Moment.BEFORE, 0), (Moment.AFTER, 1)])
def test_a_statement_in_autocommit_is_cut(
    url: str, through: str, relay: DatabaseRelay, moment: Moment, kept: int, runs_before: int
) -> None:
    with psycopg.connect(through, autocommit=True) as client:
        for _ in range(runs_before):
            client.execute(INSERT, ["before"])
        relay.cut_at("INSERT INTO notes", moment)

        with pytest.raises(psycopg.OperationalError):
            client.execute(INSERT, ["cut"])

    assert notes(url).count("cut") == kept
    assert notes(url).count("before") == runs_before


def test_connections_are_cut_as_often_as_asked(
    url: str, through: str, relay: DatabaseRelay
) -> None:
    relay.cut_at("insert", Moment.BEFORE, times=2)
    relay.cut_at("delete", Moment.BEFORE)
    outcomes = []

    for _ in range(3):
        with psycopg.connect(through, autocommit=True) as client:
            try:
                client.execute(INSERT, ["note"])
                outcomes.append("done")
            except psycopg.OperationalError:
                outcomes.append("cut")

    assert outcomes == ["cut", "cut", "done"]
    assert notes(url) == ["note"]


def test_others_are_not_concerned(url: str, through: str, relay: DatabaseRelay) -> None:
    relay.cut_at("UPDATE batches", Moment.BEFORE)
    with psycopg.connect(through, autocommit=True) as client:
        client.execute(INSERT, ["note"])
    relay.heal()

    assert notes(url) == ["note"]
    assert not relay.hits


def test_a_cut_relay_can_be_mended(url: str, through: str, relay: DatabaseRelay) -> None:
    with psycopg.connect(through, autocommit=True) as client:
        relay.reset()
        with pytest.raises(psycopg.OperationalError):
            client.execute(INSERT, ["broken"])

    relay.cut()
    with pytest.raises(psycopg.OperationalError, match="timeout"):
        psycopg.connect(through, connect_timeout=2)
    relay.mend()
    with psycopg.connect(through, autocommit=True) as client:
        client.execute(INSERT, ["mended"])

    assert notes(url) == ["mended"]


def test_a_completion_whose_answer_was_lost_is_found_by_who_looks_next(
    server: PostgresServer, relay: DatabaseRelay
) -> None:
    url = server.database()
    migrate(url)
    batch = BatchId.new(datetime.now(UTC), secrets.token_bytes(3))
    pool = open_pool(url.replace(f":{server.port}/", f":{relay.port}/"), size=2, name="test")
    database = BatchRepository(pool)
    try:
        database.stall_batch(batch, "makes the row")
        database.seal(batch, rejected=0, ignored=0, failure=None)
        relay.cut_at(r"UPDATE batches\s+SET completed_at", Moment.AFTER)

        with pytest.raises(TransientError):
            database.complete(batch)
        assert database.complete(batch)
    finally:
        database.close()

    assert relay.hits == {Moment.AFTER: 1}


def test_the_relay_forgets_closed_connections(through: str, relay: DatabaseRelay) -> None:
    relay.cut_at("^SELECT 1$", Moment.AFTER)
    with psycopg.connect(through) as client, pytest.raises(psycopg.OperationalError):
        client.execute("SELECT 1")
    with psycopg.connect(through) as client:
        client.execute("SELECT 1")

    eventually(lambda: not relay._open, seconds=5)
