"""Notifications of MinIO and RustFS over AMQP: a target for each route.

See MinIO's documentation, "Publish events to AMQP", and both servers' sources. MinIO declares
the exchange again at each send, so its flags must equal ours; it connects to the broker when
a target is set, and uses the target only after a restart, which takes seconds. RustFS uses it
at once, and does not restart by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from json import loads
from pathlib import PurePath

from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin
from urllib3.exceptions import HTTPError

from consumers.broker.address import BrokerAddress
from consumers.errors import TransientError
from events.routes import Route, exchange_name, rule_id
from ops.bootstrap.admin import policies, policies_of, put_config, read_config
from ops.bootstrap.amqp import amqp_url
from ops.bootstrap.bucket_rights import BucketRoles, role_policy, same_policy
from ops.bootstrap.step import Step

_SUBSYSTEM = "notify_amqp"

#: The most seconds that a restart may take.
_RESTART = 120.0


def minio_target(
    broker: BrokerAddress, prefix: str, routing_key: str, queue_dir: PurePath
) -> dict[str, str]:
    """Write a target of MinIO, which reads certificates from its own folder ``CAs``.

    Args:
        broker: The broker's address for the server.
        prefix: The deployment's prefix.
        routing_key: The routing key of the messages.
        queue_dir: A folder on the server, for events that the broker has not confirmed.
    """
    return {
        "enable": "on",
        "url": amqp_url(broker),
        "exchange": exchange_name(prefix),
        "exchange_type": "topic",
        "routing_key": routing_key,
        "durable": "on",
        "auto_deleted": "off",
        "internal": "off",
        "no_wait": "off",
        "delivery_mode": "2",
        "publisher_confirms": "on",
        "queue_dir": str(queue_dir),
    }


def rustfs_target(
    broker: BrokerAddress, prefix: str, routing_key: str, queue_dir: PurePath
) -> dict[str, str]:
    """Write a target of RustFS, which always uses publisher confirms. See `minio_target`."""
    target = {
        "enable": "on",
        "url": amqp_url(broker),
        "exchange": exchange_name(prefix),
        "routing_key": routing_key,
        "mandatory": "on",
        "persistent": "on",
        "queue_dir": str(queue_dir),
    }
    if broker.ca_file is not None:
        target["tls_ca"] = broker.ca_file
    return target


def target_arns(partition: str, prefix: str, routes: Sequence[Route]) -> dict[str, str | None]:
    """Return the ARN of each route's target, in the server's own region, by the route's name.

    Args:
        partition: ``minio`` or ``rustfs``.
        prefix: The deployment's prefix.
        routes: The routes.
    """
    return {route.name: f"arn:{partition}:sqs::{rule_id(prefix, route)}:amqp" for route in routes}


def put_targets(
    admin: MinioAdmin, targets: Mapping[str, Mapping[str, str]], *, restarts: bool, dry_run: bool
) -> Iterator[Step]:
    """Set the targets, and have the server use them; other targets stay.

    Args:
        admin: The server's client.
        targets: The values of each target, by its id.
        restarts: Whether the server needs a restart for new values.
        dry_run: Change nothing.

    Yields:
        Each step, once it is done.

    Raises:
        TransientError: The server does not return from its restart.
    """
    present = read_config(admin, _SUBSYSTEM)
    changed = False
    for name, wanted in targets.items():
        scope = f"{_SUBSYSTEM}:{name}"
        is_new = put_config(admin, scope, present.get(scope, {}), wanted, dry_run=dry_run)
        changed = changed or is_new
        yield Step(f"AMQP target {name}", is_new)
    if changed and restarts:
        if not dry_run:
            _restart(admin, list(targets))
        yield Step("restart of the store", changed=True)


def put_sync_events(admin: MinioAdmin, *, dry_run: bool) -> Step:
    """Have MinIO store an event before it answers a request; else it may lose the event."""
    present = read_config(admin, "api").get("api", {})
    changed = put_config(admin, "api", present, {"sync_events": "on"}, dry_run=dry_run)
    return Step("store's setting sync_events", changed)


def put_user_policies(
    admin: MinioAdmin,
    bucket: str,
    prefix: str,
    principals: Mapping[str, Sequence[str]],
    roles: BucketRoles,
    *,
    dry_run: bool,
) -> Iterator[Step]:
    """Make a policy for each role that has users, and attach it to them; none is detached.

    Yields:
        Each step, once it is done.
    """
    if not principals:
        return
    present = policies(admin)
    held = policies_of(admin, sorted({user for users in principals.values() for user in users}))
    for role, users in principals.items():
        name, wanted = f"{prefix}-{role}", role_policy(bucket, roles[role])
        changed = name not in present or not same_policy(present[name], wanted)
        if changed and not dry_run:
            admin.policy_add(name, policy=wanted)
        yield Step(f"policy {name}", changed)
        for user in users:
            missing = name not in held.get(user, ())
            if missing and not dry_run:
                admin.attach_policy([name], user=user)
            yield Step(f"policy {name} of user {user}", changed=missing)


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
