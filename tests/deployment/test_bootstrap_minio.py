"""What bootstrap makes on MinIO, and that it leads from an object to a queue."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from consumers.broker.amqp_connection import make_connection
from consumers.errors import PermanentError
from events.keys import AudioId, BatchId
from events.notification import decode
from events.routes import ROUTES, queue_name
from ops.bootstrap import bootstrap
from ops.bootstrap.minio import make_admin
from ops.wiring.adapters import make_store
from ops.wiring.environment import Environment
from ops.wiring.settings import StoreSettings, read_broker_address
from tests.harness.polling import eventually

pytestmark = pytest.mark.store("minio")

BATCH = BatchId("20250622-143052-a1b2c3")
AUDIO = AudioId(BATCH, 1)

#: A name that each way of encoding a key turns into another one.
KEY = "archives/field notes+take%2B1.tar"


def changes(variables: dict[str, str], **options: Any) -> list[str]:
    return [step.what for step in bootstrap(Environment(variables), **options) if step.changed]


def announced(variables: dict[str, str], route: str) -> list[str]:
    """Take what lies in a route's queue: the keys of the events."""
    address = read_broker_address(Environment(variables))
    name = next(queue_name(address.prefix, each) for each in ROUTES if each.name == route)
    keys: list[str] = []
    with make_connection(address, heartbeat=60, connect_timeout=5) as connection:
        while (message := connection.default_channel.basic_get(name, no_ack=True)) is not None:
            keys += [event.key for event in decode(message.body)]
    return keys


def test_an_object_comes_to_its_route_s_queue(variables: dict[str, str]) -> None:
    name = variables["S3_BUCKET"]
    foreseen = changes(variables, dry_run=True)
    made = changes(variables)
    assert [what for what in made if "database" not in what] == [
        what for what in foreseen if "database" not in what
    ]
    assert set(made) >= {
        f"exchange {name}",
        f"AMQP target {name}-unpack",
        "restart of the store",
        f"bucket {name}",
        f"notification rules of bucket {name}",
        f"lifecycle rule {name}-archives of bucket {name}",
    }
    assert changes(variables) == []

    store = make_store(Environment(variables))
    store.write(KEY, b"sound", content_type="application/x-tar")
    store.write(AUDIO.opus_key, b"sound", content_type="audio/ogg")
    store.write(AUDIO.transcript_key, b"{}", content_type="application/json")

    assert eventually(lambda: announced(variables, "unpack"), seconds=30) == [KEY]
    got = eventually(lambda: announced(variables, "transcribe"), seconds=30)
    assert got == [AUDIO.opus_key]


def test_a_role_s_user_may_do_its_part_and_no_more(variables: dict[str, str]) -> None:
    admin = make_admin(StoreSettings.read(Environment(variables)))
    user, secret = f"drop-{secrets.token_hex(4)}", secrets.token_hex(20)
    admin.user_add(user, secret)
    given = {**variables, "S3_PRINCIPALS": f"drop={user}"}
    policy = f"{variables['BROKER_PREFIX']}-drop"
    assert {f"policy {policy}", f"policy {policy} of user {user}"} <= set(changes(given))
    assert changes(given) == []
    assert policy in admin.policy_list()

    keys = {"S3_ACCESS_KEY": user, "S3_SECRET_KEY": secret}
    store = make_store(Environment({**variables, **keys}))
    store.write(BATCH.archive_key, b"sound", content_type="application/x-tar")
    with pytest.raises(PermanentError, match="forbids"):
        store.read(BATCH.archive_key)
    with pytest.raises(PermanentError, match="forbids"):
        store.write(AUDIO.opus_key, b"sound", content_type="audio/ogg")
