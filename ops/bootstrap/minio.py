"""MinIO and RustFS: the admin API through MinIO's own client, and notifications over AMQP.

A target for each route leads to the broker. See MinIO's documentation, "Publish events to
AMQP", and both servers' sources. MinIO declares the exchange again at each send, so its flags
must equal ours; it connects to the broker when a target is set, and uses the target only after
a restart, which takes seconds. RustFS uses it at once, and does not restart by itself.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin
from urllib3.exceptions import HTTPError

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError, TransientError
from events.routes import exchange_name, rule_id
from ops.bootstrap.amqp import amqp_url
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.bucket_rights import BucketRoles, role_policy, same_policy
from ops.bootstrap.step import Step
from ops.wiring.settings import StoreKind, StoreSettings

_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)

_SUBSYSTEM = "notify_amqp"

#: The default folders for events that RabbitMQ has not confirmed.
_QUEUE_DIRS = {"minio": "/var/lib/minio/events", "rustfs": "/opt/rustfs/events"}

#: The values of a target that MinIO alone has.
_MINIO = {
    "exchange_type": "topic",
    "durable": "on",
    "auto_deleted": "off",
    "internal": "off",
    "no_wait": "off",
    "delivery_mode": "2",
    "publisher_confirms": "on",
}

#: The most seconds that a restart may take.
_RESTART = 120.0


def make_admin(store: StoreSettings) -> MinioAdmin:
    """Make a client, without a request."""
    parts = urlsplit(store.endpoint or "")
    return MinioAdmin(
        endpoint=parts.netloc,
        credentials=StaticProvider(store.access_key or "", store.secret_key or ""),
        secure=parts.scheme == "https",
        http_client=urllib3.PoolManager(
            timeout=_TIMEOUT,
            # A server may have carried out a POST: only connecting is tried again.
            retries=urllib3.Retry(connect=3, read=0, redirect=0, backoff_factor=0.2),
            ca_certs=store.ca_file,
        ),
    )


@contextmanager
def admin_refusals(secret: str | None) -> Iterator[None]:
    """Translate the client's errors within the block.

    Args:
        secret: A password to hide, if the server quotes it.

    Raises:
        ConfigurationError: The server refuses a request.
        TransientError: The server is unreachable.
    """
    try:
        yield
    except MinioAdminException as exc:
        message = f"the store's admin API rejected the request: {exc}"
        if secret:
            message = message.replace(secret, "***")
        # The cause would show the password.
        raise ConfigurationError(message) from None
    except (HTTPError, OSError) as exc:
        raise TransientError(f"the store's admin API is unreachable: {exc}") from exc
    except ValueError as exc:
        raise TransientError(f"the store's admin API sent an unreadable response: {exc}") from exc


def read_config(admin: MinioAdmin, subsystem: str) -> dict[str, dict[str, str]]:
    """Read the settings of a subsystem, and of each of its targets.

    The server sends a line ``subsystem:target name=value name="a value"`` for each target,
    after comments for the values from its own environment.

    Returns:
        By ``subsystem`` or ``subsystem:target``: the values by their names.
    """
    config = {}
    for line in _config(admin, subsystem).splitlines():
        scope, _, values = line.strip().partition(" ")
        if scope.partition(":")[0] == subsystem:
            pairs = (word.partition("=") for word in shlex.split(values))
            # The line leaves out that a target is on.
            config[scope] = {"enable": "on"} | {name: value for name, _, value in pairs}
    return config


def _config(admin: MinioAdmin, subsystem: str) -> str:
    try:
        return admin.config_get(subsystem)
    except UnboundLocalError as exc:
        # A bug of minio-py 7.2, which hides why the request failed.
        if isinstance(exc.__context__, Exception):
            raise exc.__context__ from None
        raise


def make_target(
    kind: StoreKind, broker: BrokerAddress, prefix: str, routing_key: str, queue_dir: Path | None
) -> dict[str, str]:
    """Write a target.

    MinIO reads certificates from its own folder ``CAs``. RustFS always uses publisher confirms.

    Args:
        kind: The kind of the server.
        broker: The broker's address for the server.
        prefix: The deployment's prefix.
        routing_key: The routing key of the messages.
        queue_dir: A folder on the server, for events that the broker has not confirmed; None
            for the default.
    """
    target = {
        "enable": "on",
        "url": amqp_url(broker),
        "exchange": exchange_name(prefix),
        "routing_key": routing_key,
        "queue_dir": str(queue_dir or _QUEUE_DIRS[kind]),
    }
    if kind == "minio":
        return target | _MINIO
    certificates = {} if broker.ca_file is None else {"tls_ca": broker.ca_file}
    return target | {"mandatory": "on", "persistent": "on"} | certificates


def target_arns(kind: StoreKind, bucket: Bucket) -> dict[str, str]:
    """Return the ARN of each route's target, in the server's own region, by the route's name."""
    return {
        route.name: f"arn:{kind}:sqs::{rule_id(bucket.prefix, route)}:amqp"
        for route in bucket.routes
    }


def target_steps(
    admin: MinioAdmin, targets: Mapping[str, Mapping[str, str]], *, restarts: bool
) -> Iterator[Step]:
    """Set the targets, and have the server use them; other targets stay.

    Args:
        admin: The server's client.
        targets: The values of each target, by its id.
        restarts: Whether the server needs a restart for new values. It may end in a
            TransientError.
    """
    present = read_config(admin, _SUBSYSTEM)
    is_changed = False
    for name, wanted in targets.items():
        scope = f"{_SUBSYSTEM}:{name}"
        step = _config_step(f"AMQP target {name}", admin, scope, present, wanted)
        is_changed = is_changed or step.changed
        yield step
    if is_changed and restarts:
        restart = partial(_restart, admin, list(targets))
        yield Step("restart of the store", changed=True, apply=restart)


def sync_events_step(admin: MinioAdmin) -> Step:
    """Have MinIO store an event before it answers a request; else it may lose the event."""
    wanted = {"sync_events": "on"}
    return _config_step(
        "store's setting sync_events", admin, "api", read_config(admin, "api"), wanted
    )


def _config_step(
    what: str,
    admin: MinioAdmin,
    scope: str,
    present: Mapping[str, Mapping[str, str]],
    wanted: Mapping[str, str],
) -> Step:
    """Set values of a subsystem or target, if one of them differs."""
    values = present.get(scope, {})
    changed = any(values.get(name) != value for name, value in wanted.items())
    return Step(what, changed, partial(admin.config_set, scope, dict(wanted)))


def user_policy_steps(
    admin: MinioAdmin,
    bucket: Bucket,
    principals: Mapping[str, Sequence[str]],
    roles: BucketRoles,
) -> Iterator[Step]:
    """Make a policy for each role that has users, and attach it to them; none is detached."""
    if not principals:
        return
    present: dict[str, Any] = json.loads(admin.policy_list())
    held = _policies_of(admin, sorted({user for users in principals.values() for user in users}))
    for role, users in principals.items():
        name, wanted = f"{bucket.prefix}-{role}", role_policy(bucket.name, roles[role])
        changed = name not in present or not same_policy(present[name], wanted)
        yield Step(f"policy {name}", changed, partial(admin.policy_add, name, policy=wanted))
        for user in users:
            attach = partial(admin.attach_policy, [name], user=user)
            yield Step(f"policy {name} of user {user}", name not in held.get(user, ()), attach)


def _policies_of(admin: MinioAdmin, users: Sequence[str]) -> dict[str, frozenset[str]]:
    """Name the policies of each user; users without any may be missing."""
    answer = json.loads(admin.get_policy_entities(list(users), [], []))
    return {
        each["user"]: frozenset(each.get("policies") or ())
        for each in answer.get("userMappings") or ()
    }


def _restart(admin: MinioAdmin, names: Sequence[str]) -> None:
    admin.service_restart()
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < _RESTART:
        time.sleep(0.5)
        if _is_back(admin, names, passed):
            return
    raise TransientError(f"the store did not come back within {_RESTART:.0f} s of its restart")


def _is_back(admin: MinioAdmin, names: Sequence[str], passed: float) -> bool:
    """Check that each server has started since, and knows the targets."""
    try:
        info = json.loads(admin.info())
    except (MinioAdminException, HTTPError, OSError, ValueError):
        return False
    known = {arn.split(":")[-2] for arn in info.get("sqsARN") or ()}
    servers = info.get("servers") or ()
    return known.issuperset(names) and all(
        server.get("uptime", 0) <= passed + 1 for server in servers
    )
