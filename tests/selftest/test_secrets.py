"""A password that real servers refuse is not disclosed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from tests.harness.servers.postgres import PostgresServer
from tests.harness.servers.rabbitmq import RabbitNode
from tests.integration.test_secrets import QUOTED, is_hushed, printed, settings


def test_a_refused_password_is_not_printed(
    node: RabbitNode, server: PostgresServer, tmp_path: Path
) -> None:
    user = urlsplit(server.url()).username
    variables = {
        **settings(server.port, "amqp", tmp_path),
        "BROKER_URL": f"amqp://guest:{QUOTED}@127.0.0.1:{node.port}",
        "DATABASE_URL": f"postgresql://{user}:{QUOTED}@127.0.0.1:{server.port}/postgres",
    }
    with ThreadPoolExecutor(2) as threads:
        broker, database = threads.map(
            lambda command: printed(variables, command), ("bootstrap", "status")
        )
    assert "ACCESS_REFUSED" in broker
    assert "password authentication failed" in database
    assert is_hushed(broker + database), (broker, database)
