"""What bootstrap makes on Ceph, and that it leads from an object to a queue."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from consumers.broker.amqp_connection import make_connection
from consumers.errors import ConfigurationError, PermanentError
from consumers.stages.stored_archive import COMPLETE, FAILED, retire
from consumers.store import Store
from events.keys import AudioId, BatchId
from events.notification import decode
from events.routes import ROUTES, queue_name
from ops.bootstrap import bootstrap
from ops.cli.commands.health import health
from ops.wiring.adapters import make_store
from ops.wiring.environment import Environment
from ops.wiring.settings import STORE_ROLES, StoreSettings, read_broker_address
from tests.harness.deployment.deployment import RealServers
from tests.harness.polling import eventually
from tests.harness.servers.ceph import CephGateway, ceph
from tests.harness.servers.store import boto_client

pytestmark = pytest.mark.store("ceph")

BATCH = BatchId("20250622-143052-a1b2c3")
AUDIO = AudioId(BATCH, 1)
CLIP = AUDIO.clip_key(1, 2)
DECISION = BATCH.decision_key(datetime(2025, 6, 22, tzinfo=UTC), b"abc")
POLICY = "policies/hate/0123456789abcdef.md"

#: A name that each way of encoding a key turns into another one.
KEY = "archives/field notes+take%2B1.tar"


def changes(variables: dict[str, str], **options: Any) -> list[str]:
    return [step.what for step in bootstrap(Environment(variables), **options) if step.changed]


def client(variables: dict[str, str], service: str) -> Any:
    return boto_client(service, StoreSettings.read(Environment(variables)))


def announced(variables: dict[str, str], route: str) -> Iterator[str]:
    """Take what lies in a route's queue: the keys of the events."""
    address = read_broker_address(Environment(variables))
    name = next(queue_name(address.prefix, each) for each in ROUTES if each.name == route)
    with make_connection(address, heartbeat=60, connect_timeout=5) as connection:
        while (message := connection.default_channel.basic_get(name, no_ack=True)) is not None:
            for event in decode(message.body):
                yield event.key


def test_an_object_comes_to_its_route_s_queue(variables: dict[str, str]) -> None:
    name = variables["S3_BUCKET"]
    foreseen = changes(variables, dry_run=True)
    assert changes(variables, dry_run=True) == foreseen
    made = changes(variables)
    # The database's roles are the whole server's, and the schema's rights come after it.
    assert [what for what in made if "database" not in what] == [
        what for what in foreseen if "database" not in what
    ]
    assert set(made) >= {
        f"exchange {name}",
        f"queue {name}-unpack",
        f"bucket {name}",
        f"topic {name}-unpack",
        f"notification rules of bucket {name}",
        f"lifecycle rule {name}-archives of bucket {name}",
        "database schema",
    }
    assert changes(variables) == []

    store = make_store(Environment(variables))
    store.write(KEY, b"sound", content_type="application/x-tar")
    store.write(AUDIO.opus_key, b"sound", content_type="audio/ogg")
    store.write(AUDIO.transcript_key, b"{}", content_type="application/json")

    # The gateway looks for new topics twice a minute.
    got = eventually(lambda: list(announced(variables, "unpack")), seconds=60)
    assert got == [KEY]
    got = eventually(lambda: list(announced(variables, "transcribe")), seconds=60)
    assert got == [AUDIO.opus_key]
    time.sleep(1)
    assert list(announced(variables, "unpack")) == []
    assert list(announced(variables, "transcribe")) == []


def test_moderation_can_be_switched_on_and_off(variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "hate.md").write_text("# Policy\n")
    moderated = {**variables, "POLICIES_ROOT": str(tmp_path)}
    name = variables["S3_BUCKET"]
    s3, sns = client(variables, "s3"), client(variables, "sns")
    changes(variables)
    theirs = sns.create_topic(
        Name=f"{name}-theirs",
        Attributes={"push-endpoint": "amqp://127.0.0.1:9", "amqp-exchange": "elsewhere"},
    )["TopicArn"]
    # Even one that looks as if it were in the place of ours.
    rule = {"Id": f"{name}-moderate-2", "TopicArn": theirs, "Events": ["s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"TopicConfigurations": [rule]}
    )
    without = {rule["Id"], *(f"{name}-{route}" for route in ("unpack", "transcribe", "review"))}
    rules = f"notification rules of bucket {name}"
    assert ids(s3, name) == without

    assert changes(moderated)[-2:] == [rules, "moderation: on"]
    assert ids(s3, name) == {*without, f"{name}-moderate"}
    store = make_store(Environment(variables))
    store.write(AUDIO.transcript_key, b"{}", content_type="application/json")
    got = eventually(lambda: list(announced(variables, "moderate")), seconds=60)
    assert got == [AUDIO.transcript_key]

    off = ["moderation: off", rules]
    assert changes(variables, dry_run=True) == off
    assert ids(s3, name) == {*without, f"{name}-moderate"}
    assert changes(variables) == off
    steps = list(bootstrap(Environment(variables)))
    assert [step.what for step in steps if step.changed] == []
    assert "queues of moderate, which is off, are kept (0 waiting, 0 dead)" in [
        step.what for step in steps
    ]
    assert ids(s3, name) == without
    store.write(AUDIO.transcript_key, b"{}", content_type="application/json")
    store.write(AUDIO.opus_key, b"sound", content_type="audio/ogg")
    # The topics send one after the other, and this one does so still.
    got = eventually(lambda: list(announced(variables, "transcribe")), seconds=60)
    assert got == [AUDIO.opus_key]
    time.sleep(1)
    assert list(announced(variables, "moderate")) == []

    assert changes(moderated) == [rules, "moderation: on"]
    assert ids(s3, name) == {*without, f"{name}-moderate"}
    store.write(AUDIO.transcript_key, b"{}", content_type="application/json")
    got = eventually(lambda: list(announced(variables, "moderate")), seconds=60)
    assert got == [AUDIO.transcript_key]


def ids(s3: Any, bucket: str) -> set[str]:
    """Name the rules of a bucket."""
    answer = s3.get_bucket_notification_configuration(Bucket=bucket)
    return {each["Id"] for each in answer["TopicConfigurations"]}


def test_bootstrap_repairs_its_own_rules_and_keeps_others(
    variables: dict[str, str],
) -> None:
    changes(variables)
    name = variables["S3_BUCKET"]
    sns, s3 = client(variables, "sns"), client(variables, "s3")
    endpoint = {"push-endpoint": "amqp://127.0.0.1:9", "amqp-exchange": "elsewhere"}
    theirs = sns.create_topic(Name=f"{name}-theirs", Attributes=endpoint)["TopicArn"]
    rule = {"Id": "theirs", "TopicArn": theirs, "Events": ["s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"TopicConfigurations": [rule]}
    )
    tag = {"Key": "keep", "Value": "short"}
    expiry = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "logs/", "Tags": [tag]}},
        "Expiration": {"Days": 3},
    }
    present = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    s3.put_bucket_lifecycle_configuration(
        Bucket=name, LifecycleConfiguration={"Rules": [expiry, *present]}
    )
    assert changes(variables) == []

    sns.create_topic(Name=f"{name}-unpack", Attributes=endpoint)
    altered = {**variables, "RETENTION_DAYS": "30"}
    expected = [
        f"topic {name}-unpack",
        f"notification rules of bucket {name}",
        f"lifecycle rule {name}-archives of bucket {name}",
    ]
    assert changes(altered, dry_run=True) == expected
    assert changes(altered) == expected
    assert changes(altered) == []

    rules = s3.get_bucket_notification_configuration(Bucket=name)["TopicConfigurations"]
    ours = {f"{name}-{route}" for route in ("unpack", "transcribe", "review")}
    assert {each["Id"] for each in rules} == {"theirs", *ours}
    assert {each["TopicArn"] for each in rules if each["Id"] == "theirs"} == {theirs}
    expiries = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    kept = next(each for each in expiries if each["ID"] == "theirs")
    assert kept["Filter"] == {"Prefix": "logs/", "Tag": tag}
    assert kept["Expiration"] == {"Days": 3}


def test_a_password_that_would_travel_in_the_open_is_refused(variables: dict[str, str]) -> None:
    url = "amqp://dropscribe:hush@127.0.0.1:5672/"
    with pytest.raises(ConfigurationError, match="rgw allow notification secrets") as caught:
        changes({**variables, "STORE_BROKER_URL": url})
    assert "hush" not in str(caught.value)


def test_only_the_archive_of_a_complete_batch_expires(variables: dict[str, str]) -> None:
    # A day of a rule then lasts a second.
    with ceph({"rgw lc debug interval": 1}) as gateway:
        here = {
            **variables,
            **gateway.settings,
            "RETENTION_DAYS": "1",
        }
        changes(here)
        store = make_store(Environment(here))
        keys = [f"archives/{name}.tar" for name in ("complete", "failed", "unfinished")]
        for key in (*keys, AUDIO.opus_key):
            store.write(key, b"sound", content_type="application/octet-stream")
        # The one that expires comes last, as it may be gone within a second.
        for key, state in ((keys[1], FAILED), (AUDIO.opus_key, COMPLETE), (keys[0], COMPLETE)):
            stored = store.head(key)
            assert stored is not None
            retire(store, key, stored.etag, BATCH, state)

        eventually(lambda: store.head(keys[0]) is None, seconds=30)
        time.sleep(3)

        assert list(store.keys("")) == [*keys[1:], AUDIO.opus_key]


@pytest.fixture(scope="module")
def principals(servers: RealServers) -> dict[str, tuple[str, str]]:
    """A user for each role, with the user's keys."""
    gateway = servers.store
    assert isinstance(gateway, CephGateway)
    return {role: gateway.make_user(f"only-{role}") for role in STORE_ROLES}


Connect = Callable[[str], Store]


Settings = Callable[[str], Mapping[str, str]]


@pytest.fixture(scope="module")
def settings_of(
    deploy: Callable[[], dict[str, str]], principals: dict[str, tuple[str, str]]
) -> Settings:
    """Give the settings of the user who has one role, or of ``owner``."""
    given = ",".join(f"{role}=arn:aws:iam:::user/only-{role}" for role in principals)
    variables = {**deploy(), "S3_PRINCIPALS": given}
    assert f"policy of bucket {variables['S3_BUCKET']}" in changes(variables)
    assert changes(variables) == []

    def settings_of(role: str) -> Mapping[str, str]:
        owner = variables["S3_ACCESS_KEY"], variables["S3_SECRET_KEY"]
        access_key, secret_key = principals.get(role, owner)
        return {**variables, "S3_ACCESS_KEY": access_key, "S3_SECRET_KEY": secret_key}

    return settings_of


@pytest.fixture(scope="module")
def connect(settings_of: Settings) -> Connect:
    """Reach a bucket as the user who has one role, or as ``owner``."""
    return lambda role: make_store(Environment(settings_of(role)))


class TestRoles:
    """Each user has one role, and its route's calls on the store are all that it may do.

    A user owns what it wrote, so each is tried on what others did.
    """

    @pytest.fixture(autouse=True)
    def batch(self, connect: Connect) -> None:
        """An archive and a recording, each from whom it comes."""
        put(connect("drop"), BATCH.archive_key)
        put(connect("unpack"), AUDIO.opus_key)

    def test_unpack(self, connect: Connect) -> None:
        store = connect("unpack")
        assert store.read(BATCH.archive_key) == b"sound"
        put(store, AUDIO.opus_key)
        put(store, BATCH.manifest_key)
        assert store.read(BATCH.manifest_key) == b"sound"
        complete(store)
        put(connect("owner"), AUDIO.opus_key)
        may_not(
            lambda: put(store, BATCH.archive_key),
            lambda: store.delete(BATCH.archive_key),
            lambda: store.delete(AUDIO.opus_key),
            lambda: put(store, "elsewhere"),
        )

    def test_transcribe(self, connect: Connect) -> None:
        store = connect("transcribe")
        connect("owner").delete(AUDIO.transcript_key)
        assert store.head(AUDIO.transcript_key) is None
        assert store.read(AUDIO.opus_key) == b"sound"
        put(store, AUDIO.transcript_key)
        complete(store)
        may_not(
            lambda: put(store, AUDIO.opus_key),
            lambda: put(store, BATCH.manifest_key),
            lambda: put(store, BATCH.archive_key),
            lambda: store.delete(AUDIO.opus_key),
        )

    def test_moderate(self, connect: Connect) -> None:
        owner, store = connect("owner"), connect("moderate")
        put(owner, AUDIO.transcript_key)
        put(owner, POLICY)
        assert store.head(AUDIO.verdict_key) is None
        assert store.read(AUDIO.transcript_key) == b"sound"
        put(store, AUDIO.verdict_key)
        assert store.read(POLICY) == b"sound"
        put(store, POLICY)
        complete(store)
        may_not(
            lambda: put(store, AUDIO.transcript_key),
            lambda: put(store, BATCH.review_key),
            lambda: put(store, BATCH.archive_key),
            lambda: store.delete(AUDIO.transcript_key),
        )
        owner.delete(AUDIO.verdict_key)

    def test_review(self, connect: Connect) -> None:
        owner, store = connect("owner"), connect("review")
        put(owner, AUDIO.verdict_key)
        put(owner, POLICY)
        assert store.head(CLIP) is None
        assert store.read(AUDIO.opus_key) == b"sound"
        put(store, CLIP)
        put(store, BATCH.review_key)
        may_not(
            lambda: put(store, AUDIO.verdict_key),
            lambda: put(store, DECISION),
            lambda: put(store, BATCH.complete_key),
            lambda: store.read(POLICY),
            lambda: store.delete(AUDIO.opus_key),
        )
        owner.delete(CLIP)

    def test_reviewer(self, connect: Connect) -> None:
        owner, store = connect("owner"), connect("reviewer")
        for key in (CLIP, BATCH.review_key, POLICY, BATCH.archive_key):
            put(owner, key)
        assert store.read(CLIP) == store.read(POLICY) == b"sound"
        assert BATCH.review_key in list(store.keys(BATCH.prefix))
        put(store, DECISION)
        may_not(
            lambda: put(store, CLIP),
            lambda: put(store, BATCH.review_key),
            lambda: put(store, POLICY),
            lambda: store.read(BATCH.archive_key),
            lambda: store.delete(DECISION),
        )
        owner.delete(CLIP)

    def test_drop(self, connect: Connect) -> None:
        store = connect("drop")
        put(connect("owner"), "archives/theirs.tar")
        may_not(
            lambda: store.read("archives/theirs.tar"),
            lambda: store.delete("archives/theirs.tar"),
            lambda: store.read(AUDIO.opus_key),
            lambda: list(store.keys("")),
            lambda: put(store, AUDIO.opus_key),
        )

    def test_transfer(self, connect: Connect) -> None:
        store = connect("transfer")
        put(store, BATCH.archive_key)
        # What is staged goes once all of it is known to be stored.
        assert store.head(BATCH.archive_key) is not None
        put(connect("owner"), AUDIO.opus_key)
        may_not(
            lambda: store.delete(BATCH.archive_key),
            lambda: store.read(AUDIO.opus_key),
            lambda: put(store, AUDIO.opus_key),
        )

    def test_operator(self, connect: Connect) -> None:
        store = connect("operator")
        put(connect("owner"), POLICY)
        complete(store)
        assert store.read(POLICY) == b"sound"
        put(connect("owner"), AUDIO.opus_key)
        store.delete(AUDIO.opus_key)
        may_not(
            lambda: store.delete(BATCH.archive_key),
            lambda: put(store, BATCH.archive_key),
            lambda: put(store, AUDIO.opus_key),
            lambda: store.delete(POLICY),
        )

    def test_the_rules_are_shown_to_the_owner_alone(self, settings_of: Settings) -> None:
        as_owner, as_operator = (
            CliRunner().invoke(health, ["--check", "rules", "--json"], env=dict(settings_of(role)))
            for role in ("owner", "operator")
        )
        assert json.loads(as_owner.stdout)["findings"][0]["level"] == "ok", as_owner.stdout
        finding = json.loads(as_operator.stdout)["findings"][0]
        assert finding["level"] == "skipped"
        assert "have no permission to read the notification rules" in finding["what"]


def put(store: Store, key: str) -> None:
    store.write(key, b"sound", content_type="application/octet-stream")


def complete(store: Store) -> None:
    """Do what whoever finishes a batch does."""
    store.now()
    assert AUDIO.opus_key in list(store.keys(BATCH.prefix))
    put(store, BATCH.complete_key)
    stored = store.head(BATCH.archive_key)
    assert stored is not None
    retire(store, BATCH.archive_key, stored.etag, BATCH, COMPLETE)
    assert store.tags(BATCH.archive_key)["dropscribe"] == "complete"


def may_not(*acts: Callable[[], object]) -> None:
    for act in acts:
        with pytest.raises(PermanentError, match="forbids"):
            act()
