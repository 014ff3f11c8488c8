"""Notifications of MinIO and RustFS over AMQP: a target for each route.

See MinIO's documentation, "Publish events to AMQP", and both servers' sources. MinIO declares
the exchange again at each send, so its flags must equal ours; it connects to the broker when
a target is set, and uses the target only after a restart, which takes seconds. RustFS uses it
at once, and does not restart by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from json import loads
from pathlib import Path

from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin
from urllib3.exceptions import HTTPError

from consumers.broker.address import BrokerAddress
from consumers.errors import TransientError
from events.routes import exchange_name, rule_id
from ops.bootstrap.admin import policies, policies_of, read_config
from ops.bootstrap.amqp import amqp_url
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.bucket_rights import BucketRoles, role_policy, same_policy
from ops.bootstrap.step import Step
from ops.wiring.settings import StoreKind

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
    present = policies(admin)
    held = policies_of(admin, sorted({user for users in principals.values() for user in users}))
    for role, users in principals.items():
        name, wanted = f"{bucket.prefix}-{role}", role_policy(bucket.name, roles[role])
        changed = name not in present or not same_policy(present[name], wanted)
        yield Step(f"policy {name}", changed, partial(admin.policy_add, name, policy=wanted))
        for user in users:
            attach = partial(admin.attach_policy, [name], user=user)
            yield Step(f"policy {name} of user {user}", name not in held.get(user, ()), attach)


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
        info = loads(admin.info())
    except (MinioAdminException, HTTPError, OSError, ValueError):
        return False
    known = {arn.split(":")[-2] for arn in info.get("sqsARN") or ()}
    servers = info.get("servers") or ()
    return known.issuperset(names) and all(
        server.get("uptime", 0) <= passed + 1 for server in servers
    )
