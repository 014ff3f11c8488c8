"""In which order things are made: what something else leads to comes first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from consumers.aws import make_client
from consumers.broker.address import BrokerAddress
from consumers.database.migrate import migrate, pending
from consumers.database.roles import ensure_roles
from events.routes import ROUTES, queue_name, rule_id
from ops.bootstrap.admin import admin_refusals, make_admin
from ops.bootstrap.amqp import make_queues as make_amqp_queues
from ops.bootstrap.bucket import Bucket, make_bucket
from ops.bootstrap.ceph import make_announcements, topic_attributes
from ops.bootstrap.guess import settle
from ops.bootstrap.lifecycle import put_lifecycle
from ops.bootstrap.minio import (
    minio_target,
    put_sync_events,
    put_targets,
    put_user_policies,
    rustfs_target,
    target_arns,
)
from ops.bootstrap.policies import put_policy
from ops.bootstrap.rules import put_queue_rules
from ops.bootstrap.sqs import make_queues as make_sqs_queues
from ops.bootstrap.sqs import queue_arn
from ops.bootstrap.step import Step, refusals
from ops.composition import make_topology
from ops.environment import Environment
from ops.settings import (
    BootstrapSettings,
    DatabaseSettings,
    StoreKind,
    StoreSettings,
    read_broker_address,
)

#: Where MinIO and RustFS keep what RabbitMQ has not confirmed.
_QUEUE_DIRS = {
    "minio": PurePosixPath("/var/lib/minio/events"),
    "rustfs": PurePosixPath("/opt/rustfs/events"),
}


def bootstrap(
    environment: Environment, *, store: StoreKind | None = None, dry_run: bool = False
) -> Iterator[Step]:
    """Make what is missing: the broker's queues before the bucket's rules.

    A store has nowhere to send a notification to whose queue is not there.

    Args:
        environment: Where everything is.
        store: Which store it is; None for what the settings say, or a guess.
        dry_run: Only look; a step that would change something says so.

    Yields:
        A step as it is done.

    Raises:
        ConfigurationError: A setting can't be, or the credentials do not allow it.
        TransientError: A server can't be reached.
    """
    settings = StoreSettings.read(environment)
    options = BootstrapSettings.read(environment)
    address = read_broker_address(environment)
    database = DatabaseSettings.read(environment)
    kind = settle(store or options.store_kind, settings, address)
    client = _client("s3", settings)
    plan = StorePlan(
        settings=settings,
        options=options,
        address=address,
        bucket=Bucket(client, settings.bucket, settings.region),
        dry_run=dry_run,
    )
    if kind == "aws":
        yield from plan.aws()
    else:
        yield from make_amqp_queues(address, make_topology(environment), dry_run=dry_run)
        yield from plan.ceph() if kind == "ceph" else plan.minio(kind)
    yield from _make_schema(database.url, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class StorePlan:
    """What is made in and around the store, by its kind.

    Attributes:
        settings: Where it is.
        options: What it is to be told.
        address: The broker, as we reach it.
        bucket: The bucket.
        dry_run: Only look.
    """

    settings: StoreSettings
    options: BootstrapSettings
    address: BrokerAddress
    bucket: Bucket
    dry_run: bool

    def aws(self) -> Iterator[Step]:
        """Queues of SQS, and rules that name them."""
        prefix, dry_run = self.address.prefix, self.dry_run
        sqs = make_client(
            "sqs",
            endpoint=self.address.endpoint,
            access_key=self.address.access_key,
            secret_key=self.address.secret_key,
            region=self.address.region,
            ca_file=self.address.ca_file,
            timeout=self.settings.timeout,
        )
        with refusals("SQS"):
            for route in ROUTES:
                yield from make_sqs_queues(sqs, prefix, route, self.bucket.name, dry_run=dry_run)
            arns = {route.name: queue_arn(sqs, queue_name(prefix, route)) for route in ROUTES}
        with refusals("the store"):
            yield make_bucket(self.bucket, dry_run=dry_run)
            yield put_queue_rules(self.bucket, prefix, arns, dry_run=dry_run)
            yield from self._lifecycle(aborts_uploads=True)
            yield from self._bucket_policy()

    def ceph(self) -> Iterator[Step]:
        """Topics that lead to the exchange, and rules that name them."""
        prefix = self.address.prefix
        attributes = topic_attributes(
            self.options.broker_of_store(self.address), prefix, self.options.ceph_ack_level
        )
        sns = _client("sns", self.settings)
        with refusals("the store"):
            yield make_bucket(self.bucket, dry_run=self.dry_run)
            yield from make_announcements(
                self.bucket, sns, prefix, attributes, dry_run=self.dry_run
            )
            yield from self._lifecycle(aborts_uploads=True)
            yield from self._bucket_policy()

    def minio(self, kind: StoreKind) -> Iterator[Step]:
        """Targets that lead to the exchange, and rules that name them."""
        prefix, dry_run = self.address.prefix, self.dry_run
        broker = self.options.broker_of_store(self.address)
        queue_dir = self.options.queue_dir or _QUEUE_DIRS[kind]
        is_minio = kind == "minio"
        describe = minio_target if is_minio else rustfs_target
        targets = {
            name: describe(broker, prefix, name, queue_dir)
            for name in (rule_id(prefix, route) for route in ROUTES)
        }
        admin = make_admin(self.settings)
        with admin_refusals(broker.secret_key):
            if is_minio:
                yield put_sync_events(admin, dry_run=dry_run)
            yield from put_targets(admin, targets, restarts=is_minio, dry_run=dry_run)
        with refusals("the store"):
            yield make_bucket(self.bucket, dry_run=dry_run)
            yield put_queue_rules(self.bucket, prefix, target_arns(kind, prefix), dry_run=dry_run)
            # MinIO itself gives up uploads after a day, and knows no such rule.
            yield from self._lifecycle(aborts_uploads=not is_minio)
        with admin_refusals(broker.secret_key):
            yield from put_user_policies(
                admin, self.bucket.name, prefix, self.options.principals, dry_run=dry_run
            )

    def _lifecycle(self, *, aborts_uploads: bool) -> Iterator[Step]:
        return put_lifecycle(
            self.bucket,
            self.address.prefix,
            self.options.retention_days,
            aborts_uploads=aborts_uploads,
            dry_run=self.dry_run,
        )

    def _bucket_policy(self) -> Iterator[Step]:
        return put_policy(
            self.bucket, self.address.prefix, self.options.principals, dry_run=self.dry_run
        )


def _client(service: str, settings: StoreSettings) -> Any:
    return make_client(
        service,
        endpoint=settings.endpoint,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        region=settings.region,
        ca_file=settings.ca_file,
        timeout=settings.timeout,
    )


def _make_schema(url: str, *, dry_run: bool) -> Iterator[Step]:
    missing = pending(url) if dry_run else migrate(url)
    yield Step("database schema", changed=bool(missing))
    if missing and dry_run:
        # Rights to tables that are not there can't be compared.
        yield Step("database roles", changed=True)
        return
    for what, changed in ensure_roles(url, dry_run=dry_run):
        yield Step(what, changed)
