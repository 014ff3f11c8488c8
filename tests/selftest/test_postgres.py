"""PostgreSQL keeps committed rows, however it ends."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from consumers.errors import ConfigurationError
from tests.harness.servers.grounds import ServerError
from tests.harness.servers.postgres import PostgresServer, postgres
from tests.selftest.processes import answers, processes


def segments() -> set[str]:
    """List the ids of the segments of shared memory that are in the kernel."""
    table = subprocess.run(["ipcs", "-m"], capture_output=True, text=True, check=True).stdout
    return {line.split()[1] for line in table.splitlines() if line.startswith("0x")}


def segment_of(server: PostgresServer) -> str:
    """Read the id of a server's segment: the last word of its lock file's seventh line."""
    return (server.folder / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]


def test_databases_share_nothing(server: PostgresServer) -> None:
    one, other = server.database(), server.database()

    with psycopg.connect(one) as connection:
        connection.execute("CREATE TABLE of_one ()")

    with (
        psycopg.connect(other) as connection,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        connection.execute("SELECT FROM of_one")


def test_a_wrong_password_is_refused(server: PostgresServer) -> None:
    wrong = server.url().replace(":", ":not-", 2).replace("postgresql:not-", "postgresql:")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_the_password_is_not_shown(server: PostgresServer) -> None:
    password = server.url().split(":")[2].split("@")[0]

    assert password not in repr(server)


@pytest.mark.parametrize(
    "end", [PostgresServer.kill, PostgresServer.stop], ids=["a kill", "a stop"]
)
def test_committed_rows_outlive(
    server: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    url = server.database()
    with psycopg.connect(url) as client:
        client.execute("CREATE TABLE recordings AS SELECT 'committed' AS state")
        client.commit()
        client.execute("INSERT INTO recordings VALUES ('not committed')")

        end(server)
        assert not answers(server.port)
        server.start()

        with pytest.raises(psycopg.OperationalError):
            client.commit()
    with psycopg.connect(url) as client:
        assert client.execute("SELECT state FROM recordings").fetchall() == [("committed",)]


def test_options_are_in_force() -> None:
    with (
        postgres({"idle_in_transaction_session_timeout": "5min"}) as server,
        psycopg.connect(server.url()) as client,
    ):
        row = client.execute("SHOW idle_in_transaction_session_timeout").fetchone()

    assert row == ("5min",)


def test_a_wrong_option_is_shown() -> None:
    with pytest.raises(ServerError, match="no_such_option"), postgres({"no_such_option": 1}):
        pass


def test_only_verified_tls_connections_are_accepted() -> None:
    with postgres(tls=True) as server:
        with psycopg.connect(server.url()) as client:
            row = client.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert row.fetchone() == (True,)

        plain = server.url().partition("?")[0]
        with pytest.raises(psycopg.OperationalError, match="no encryption"):
            psycopg.connect(f"{plain}?sslmode=disable")
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(f"{plain}?sslmode=verify-full&sslrootcert=system")


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_server_leaves_nothing(is_killed: bool) -> None:
    with postgres() as server:
        assert len(processes(server.folder)) >= 3
        segment = segment_of(server)
        assert segment in segments()
        if is_killed:
            server.kill()

    assert not processes(server.folder)
    assert not server.folder.exists()
    assert segment not in segments()


def test_a_missing_server_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.harness.servers.postgres._VERSIONS", Path("/nowhere"))

    with (
        pytest.raises(ConfigurationError, match=r"not installed: apt-get install .*postgresql$"),
        postgres(),
    ):
        pass
