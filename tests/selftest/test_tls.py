"""PostgreSQL by TLS, as libpq's own parameters of DATABASE_URL ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from consumers.database.migrate import migrate, pending
from consumers.database.roles import ensure_roles
from consumers.errors import TransientError
from ops.wiring.adapters import open_database
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from tests.harness.certificates import certify
from tests.harness.servers.postgres import PostgresServer, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres(tls=True) as server:
        yield server


def url(server: PostgresServer, host: str = "127.0.0.1", **parameters: str) -> str:
    """Write a URL as people do."""
    login = urlsplit(server.url()).netloc.rpartition("@")[0]
    return f"postgresql://{login}@{host}:{server.port}/postgres?{urlencode(parameters)}"


def by_tls(server: PostgresServer) -> str:
    return url(server, sslmode="verify-full", sslrootcert=str(server.ca_file))


def test_a_signed_certificate_is_trusted(server: PostgresServer) -> None:
    migrate(by_tls(server))
    assert pending(by_tls(server)) == ()
    with open_database(Environment({"DATABASE_URL": by_tls(server)})) as database:
        assert database.batches(1) == []


def test_roles_are_made_in_debians_postgresql_too(server: PostgresServer) -> None:
    migrate(by_tls(server))
    list(ensure_roles(by_tls(server), PIPELINE.database_roles, dry_run=False))
    assert not any(
        changed
        for _, changed in ensure_roles(by_tls(server), PIPELINE.database_roles, dry_run=False)
    )


def test_a_certificate_of_another_authority_is_refused(
    server: PostgresServer, tmp_path: Path
) -> None:
    other, _ = certify(tmp_path, "other")
    distrusting = url(server, sslmode="verify-full", sslrootcert=str(other))
    with pytest.raises(TransientError, match="certificate verify failed"):
        migrate(distrusting)


def test_a_certificate_of_another_host_is_refused(server: PostgresServer) -> None:
    elsewhere = url(server, "localhost", sslmode="verify-full", sslrootcert=str(server.ca_file))
    with pytest.raises(TransientError, match="does not match host name"):
        migrate(elsewhere)
