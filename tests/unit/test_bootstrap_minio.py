"""What MinIO's admin API is asked, request by request."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from minio.crypto import decrypt, encrypt

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError, TransientError
from consumers.network.aws import make_client
from events.routes import ROUTES
from ops.bootstrap.amqp import amqp_url
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.bucket_rights import bucket_roles
from ops.bootstrap.minio import (
    admin_refusals,
    make_admin,
    make_target,
    read_config,
    sync_events_step,
    target_arns,
    target_steps,
    user_policy_steps,
)
from ops.bootstrap.plan import StorePlan
from ops.bootstrap.step import Step, applied
from ops.bootstrap.store_kind import choose_store_kind
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import BootstrapSettings, StoreSettings

SECRET = "an administrator's"

#: What the server says of itself.
MINIO = {"Server": "MinIO"}

#: A target before anybody has set one (MinIO's defaults).
UNSET = "notify_amqp enable=off url= exchange= "

BROKER = BrokerAddress.parse("amqp://me:p%2Fw@rabbit:5672/a%2Fb", region="", prefix="drop")
TARGETS = {
    f"drop-{route}": make_target("minio", BROKER, "drop", f"drop-{route}", None)
    for route in ("unpack", "transcribe")
}


class Admin(ThreadingHTTPServer):
    """A server that keeps what it is told, as MinIO does, and notes what it is asked.

    Attributes:
        asked: Method, command and what was sent in clear.
        config: Values by subsystem, or by subsystem and target.
        policies: Users' policies by name.
        held: Names of policies by user.
        refusal: With what it refuses any setting.
        active: The targets that it uses since its last restart.
        forbidden: Whether it refuses even to be asked.
        headers: Of every answer.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str, str]] = []
        self.config: dict[str, str] = {"notify_amqp": UNSET.partition(" ")[2], "api": "x=1"}
        self.policies: dict[str, Any] = {}
        self.held: dict[str, list[str]] = {}
        self.refusal: str | None = None
        self.forbidden = False
        self.active: set[str] = set()
        self.headers: dict[str, str] = {}

    def changes(self) -> list[tuple[str, str, str]]:
        return [each for each in self.asked if each[0] != "GET"]

    def restart(self) -> None:
        self.active = {scope.partition(":")[2] for scope in self.config if ":" in scope}

    @property
    def store(self) -> StoreSettings:
        return StoreSettings.read(
            Environment(
                {
                    "S3_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
                    "S3_ACCESS_KEY": "admin",
                    "S3_SECRET_KEY": SECRET,
                }
            )
        )


class _Handler(BaseHTTPRequestHandler):
    server: Admin

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        server = self.server
        if server.forbidden:
            self._answer(b'{"Code": "AccessDenied"}', status=403)
            return
        match parts.path.removeprefix("/minio/admin/v3/"):
            case "get-config-kv":
                subsystem = query["key"][0]
                lines = [
                    f"{scope} {values}"
                    for scope, values in server.config.items()
                    if scope.split(":")[0] == subsystem
                ]
                self._answer(encrypt("\n".join(lines).encode(), SECRET))
            case "info":
                arns = [f"arn:minio:sqs::{name}:amqp" for name in server.active]
                info = {"sqsARN": arns, "servers": [{"uptime": 0, "state": "online"}]}
                self._answer(json.dumps(info).encode())
            case "list-canned-policies":
                self._answer(json.dumps(server.policies).encode())
            case "idp/builtin/policy-entities":
                mapping = [
                    {"user": user, "policies": server.held[user]}
                    for user in query["user"]
                    if user in server.held
                ]
                self._answer(encrypt(json.dumps({"userMappings": mapping}).encode(), SECRET))
            case "/health":
                self._answer(b'{"service": "something", "status": "ok"}')
            case _:
                # Of a bucket that is not there.
                self._answer(b"<Error><Code>NoSuchBucket</Code></Error>", status=404)

    def do_HEAD(self) -> None:
        self._answer(b"", status=404)

    def do_PUT(self) -> None:
        self._change()

    def do_POST(self) -> None:
        self._change()

    def _change(self) -> None:
        parts = urlsplit(self.path)
        command = parts.path.removeprefix("/minio/admin/v3/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if command in {"set-config-kv", "idp/builtin/policy/attach"}:
            response = urllib3.HTTPResponse(io.BytesIO(body), preload_content=False)
            body = decrypt(response, SECRET)
        text = body.decode()
        server = self.server
        server.asked.append((self.command, command, text or parts.query))
        if server.refusal is not None:
            self._answer(server.refusal.encode(), status=400)
            return
        match command:
            case "set-config-kv":
                scope, _, values = text.partition(" ")
                server.config[scope] = values
            case "service":
                server.restart()
            case "add-canned-policy":
                server.policies[parse_qs(parts.query)["name"][0]] = json.loads(text)
            case "idp/builtin/policy/attach":
                attached = json.loads(text)
                server.held.setdefault(attached["user"], []).extend(attached["policies"])
        self._answer(encrypt(b"{}", SECRET) if "attach" in command else b"")

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response_only(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _serving() -> Iterator[Admin]:
    with Admin() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module", autouse=True)
def plain_keys() -> Iterator[None]:
    """Derive keys at once: Argon2 takes 64 MiB and a tenth of a second for each message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minio.crypto._generate_key", lambda *told: sha256(b"".join(told)).digest())
        yield


@pytest.fixture
def server() -> Iterator[Admin]:
    with _serving() as server:
        yield server


def targets(server: Admin, *, dry_run: bool = False, restarts: bool = True) -> list[Step]:
    admin = make_admin(server.store)
    return list(applied(target_steps(admin, TARGETS, restarts=restarts), dry_run=dry_run))


def test_a_target_is_set_for_each_route_and_then_the_store_is_restarted(server: Admin) -> None:
    steps = targets(server)

    assert all(step.changed for step in steps)
    assert [step.what for step in steps] == [
        "AMQP target drop-unpack",
        "AMQP target drop-transcribe",
        "restart of the store",
    ]
    first, second, last = server.changes()
    assert first[:2] == ("PUT", "set-config-kv")
    assert first[2] == (
        "notify_amqp:drop-unpack enable=on url=amqp://me:p%2Fw@rabbit:5672/a%2Fb exchange=drop "
        "routing_key=drop-unpack queue_dir=/var/lib/minio/events exchange_type=topic durable=on "
        "auto_deleted=off internal=off no_wait=off delivery_mode=2 publisher_confirms=on"
    )
    assert second[2].startswith("notify_amqp:drop-transcribe ")
    assert last == ("POST", "service", "action=restart")


def test_a_second_time_nothing_is_set_and_nothing_restarted(server: Admin) -> None:
    targets(server)
    server.asked.clear()

    assert not any(step.changed for step in targets(server))
    assert server.changes() == []


def test_a_dry_run_only_asks(server: Admin) -> None:
    assert [step.what for step in targets(server, dry_run=True) if step.changed] == [
        "AMQP target drop-unpack",
        "AMQP target drop-transcribe",
        "restart of the store",
    ]
    assert server.changes() == []


@pytest.mark.parametrize("altered", ["exchange=other", "enable=off", 'queue_dir=""'])
def test_only_a_target_that_somebody_altered_is_set_again(server: Admin, altered: str) -> None:
    targets(server)
    server.asked.clear()
    server.config["notify_amqp:drop-unpack"] += f" {altered}"

    changed = [step.what for step in targets(server) if step.changed]

    assert changed == ["AMQP target drop-unpack", "restart of the store"]
    assert [command for _, command, _ in server.changes()] == ["set-config-kv", "service"]


def test_a_store_that_applies_it_at_once_is_not_restarted(server: Admin) -> None:
    # RustFS would end, and leave it to others to start it again.
    steps = targets(server, restarts=False)

    assert [step.what for step in steps] == [f"AMQP target {name}" for name in TARGETS]
    assert {command for _, command, _ in server.changes()} == {"set-config-kv"}


def test_rustfs_has_settings_of_its_own() -> None:
    assert make_target("rustfs", BROKER, "drop", "drop-unpack", None) == {
        "enable": "on",
        "url": "amqp://me:p%2Fw@rabbit:5672/a%2Fb",
        "exchange": "drop",
        "routing_key": "drop-unpack",
        "mandatory": "on",
        "persistent": "on",
        "queue_dir": "/opt/rustfs/events",
    }
    bucket = Bucket(None, "bucket", "us-east-1", "drop", ROUTES[:1])
    assert target_arns("rustfs", bucket) == {"unpack": "arn:rustfs:sqs::drop-unpack:amqp"}


def test_events_are_noted_before_a_request_is_answered(server: Admin) -> None:
    admin = make_admin(server.store)
    server.config["api"] = "requests_max=0 sync_events=off"

    step = sync_events_step(admin)
    assert step.changed
    assert server.changes() == []
    step.apply()
    assert not sync_events_step(admin).changed
    assert server.changes() == [("PUT", "set-config-kv", "api sync_events=on")]


def test_quoted_values_and_variables_of_the_server_are_read(server: Admin) -> None:
    # So does RustFS write, and both show before it what their own environment says.
    server.config["notify_amqp:one"] = "enable=off\n# MINIO_NOTIFY_AMQP_ENABLE_two=on"
    server.config["notify_amqp:two"] = 'url="amqp://h" queue_dir="/a b" comment="it\\"s"'

    config = read_config(make_admin(server.store), "notify_amqp")

    assert sorted(config) == ["notify_amqp", "notify_amqp:one", "notify_amqp:two"]
    assert config["notify_amqp:two"] == {
        "enable": "on",
        "url": "amqp://h",
        "queue_dir": "/a b",
        "comment": 'it"s',
    }


def test_a_password_that_the_server_quotes_is_not_shown(server: Admin) -> None:
    server.refusal = '{"Message": "can\'t log in with p/w"}'
    with (
        pytest.raises(
            ConfigurationError, match=r"rejected the request: .*can't log in with \*\*\*"
        ) as caught,
        admin_refusals(BROKER.secret_key),
    ):
        targets(server)
    assert caught.value.__cause__ is None


def test_a_user_without_admin_rights_is_refused(server: Admin) -> None:
    server.forbidden = True
    with (
        pytest.raises(ConfigurationError, match=r"rejected the request: .*AccessDenied"),
        admin_refusals(None),
    ):
        targets(server)


def test_an_unreachable_server_is_a_temporary_error() -> None:
    with _serving() as server:
        store = server.store
    with pytest.raises(TransientError, match="is unreachable"), admin_refusals(None):
        list(target_steps(make_admin(store), TARGETS, restarts=True))


PRINCIPALS = {"drop": ("field", "office"), "unpack": ("worker",)}


class TestPolicies:
    def put(self, server: Admin, *, dry_run: bool = False) -> list[str]:
        bucket = Bucket(None, "bucket", "us-east-1", "drop", ROUTES)
        admin, roles = make_admin(server.store), bucket_roles(PIPELINE)
        steps = user_policy_steps(admin, bucket, PRINCIPALS, roles)
        return [step.what for step in applied(steps, dry_run=dry_run) if step.changed]

    def test_each_role_is_a_policy_that_its_users_get(self, server: Admin) -> None:
        everything = [
            "policy drop-drop",
            "policy drop-drop of user field",
            "policy drop-drop of user office",
            "policy drop-unpack",
            "policy drop-unpack of user worker",
        ]
        assert self.put(server, dry_run=True) == everything
        assert server.changes() == []
        assert self.put(server) == everything
        assert self.put(server) == []
        assert server.held == {
            "field": ["drop-drop"],
            "office": ["drop-drop"],
            "worker": ["drop-unpack"],
        }
        (statement,) = server.policies["drop-drop"]["Statement"]
        assert statement == {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": ["arn:aws:s3:::bucket/archives/*"],
        }

    def test_a_policy_that_is_spelt_otherwise_stays(self, server: Admin) -> None:
        self.put(server)
        (statement,) = server.policies["drop-drop"]["Statement"]
        statement["Action"] = statement["Action"][::-1]
        statement["Resource"] = statement["Resource"][0]
        assert self.put(server) == []
        statement["Action"] = "s3:*"
        assert self.put(server) == ["policy drop-drop"]


class TestGuess:
    @pytest.mark.parametrize(
        ("headers", "kind"),
        [
            (MINIO, "minio"),
            ({"x-amz-request-id": "tx00000fa00d880330c2938-006b0304c9-1007-default"}, "ceph"),
        ],
    )
    def test_the_store_is_known_by_its_answers(
        self, server: Admin, headers: dict[str, str], kind: str
    ) -> None:
        server.headers = headers
        assert choose_store_kind(None, server.store, BROKER) == kind
        assert choose_store_kind("rustfs", server.store, BROKER) == "rustfs"

    def test_one_that_does_not_say_has_to_be_named(self, server: Admin) -> None:
        with pytest.raises(ConfigurationError, match="set --store or STORE_KIND"):
            choose_store_kind(None, server.store, BROKER)

    def test_an_unreachable_one_is_a_temporary_error(self) -> None:
        with _serving() as server:
            store = server.store
        with pytest.raises(TransientError, match="is unreachable"):
            choose_store_kind(None, store, BROKER)


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("minio", ["store's setting sync_events", "AMQP target", "AMQP target", "restart"]),
        ("rustfs", ["AMQP target", "AMQP target"]),
    ],
)
def test_the_targets_come_before_the_rules_and_the_rules_before_the_users(
    server: Admin, kind: Any, steps: list[str]
) -> None:
    options = BootstrapSettings.read(Environment({"S3_PRINCIPALS": "drop=field"}))
    client = make_client("s3", **_address(server.store))
    bucket = Bucket(client, "bucket", "us-east-1", "drop", ROUTES[:2], ROUTES[2:])
    plan = StorePlan(kind, server.store, options, BROKER, bucket, PIPELINE)
    # MinIO has no rule about uploads.
    uploads = ["lifecycle rule drop-uploads"] if kind == "rustfs" else []
    expected = [
        *steps,
        "bucket bucket",
        "notification rules of bucket bucket",
        "lifecycle rule drop-archives",
        *uploads,
        "policy drop-drop",
        "policy drop-drop of user field",
    ]
    made = list(plan.steps(dry_run=True))
    assert all(step.changed for step in made)
    assert [step.what.startswith(what) for step, what in zip(made, expected, strict=True)] == [
        True
    ] * len(expected)
    assert server.changes() == []


def _address(store: StoreSettings) -> dict[str, Any]:
    return {
        "endpoint": store.endpoint,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
        "region": store.region,
    }


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("amqp://127.0.0.1:5672/", "amqp://127.0.0.1:5672"),
        ("amqps://a:b@rabbit/v", "amqps://a:b@rabbit/v"),
        ("amqp://a%40b:c%3Ad@rabbit:1/%2Fv", "amqp://a%40b:c%3Ad@rabbit:1/%2Fv"),
    ],
)
def test_the_broker_s_url_is_written_as_it_was_given(url: str, written: str) -> None:
    assert amqp_url(BrokerAddress.parse(url, region="", prefix="")) == written
