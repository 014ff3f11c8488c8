"""The steps in and around the store, by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from consumers.broker.address import BrokerAddress
from consumers.network.aws import make_client
from events.routes import Route, queue_name, rule_id
from ops.bootstrap.admin import admin_refusals, make_admin
from ops.bootstrap.bucket import Bucket, make_bucket, put_lifecycle
from ops.bootstrap.bucket_rights import bucket_roles, put_policy
from ops.bootstrap.ceph import make_announcements, topic_attributes
from ops.bootstrap.minio import (
    minio_target,
    put_sync_events,
    put_targets,
    put_user_policies,
    rustfs_target,
    target_arns,
)
from ops.bootstrap.rules import put_queue_rules
from ops.bootstrap.sqs import keep_queues, make_queues, make_review_queue, queue_arn
from ops.bootstrap.step import Step, refusals
from ops.wiring.settings import BootstrapSettings, StoreKind, StoreSettings
from ops.wiring.stage_table import StageTable

#: Where MinIO and RustFS keep events that RabbitMQ has not confirmed.
_QUEUE_DIRS = {
    "minio": PurePath("/var/lib/minio/events"),
    "rustfs": PurePath("/opt/rustfs/events"),
}


@dataclass(frozen=True, slots=True)
class StorePlan:
    """The steps in and around the store, by its kind.

    Attributes:
        settings: The address and the credentials of the store.
        options: Its set-up.
        address: The broker's address from here.
        bucket: The bucket.
        routes: The routes that are set up.
        table: All stages.
        dry_run: Change nothing.
    """

    settings: StoreSettings
    options: BootstrapSettings
    address: BrokerAddress
    bucket: Bucket
    routes: tuple[Route, ...]
    table: StageTable
    dry_run: bool

    @property
    def off(self) -> tuple[Route, ...]:
        """The routes that are not set up."""
        return tuple(route for route in self.table.routes if route not in self.routes)

    def aws(self) -> Iterator[Step]:
        """Make queues on SQS, and rules that lead to them."""
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
            for route in self.routes:
                yield from make_queues(sqs, prefix, route, self.bucket.name, dry_run=dry_run)
            yield make_review_queue(sqs, prefix, dry_run=dry_run)
            yield from keep_queues(sqs, prefix, self.off)
            arns = {route.name: queue_arn(sqs, queue_name(prefix, route)) for route in self.routes}
        with refusals("the store"):
            yield make_bucket(self.bucket, dry_run=dry_run)
            yield put_queue_rules(self.bucket, prefix, arns, self.table.routes, dry_run=dry_run)
            yield from self._lifecycle(aborts_uploads=True)
            yield from self._bucket_policy()

    def ceph(self) -> Iterator[Step]:
        """Make topics that lead to the exchange, and rules that lead to the topics."""
        prefix = self.address.prefix
        attributes = topic_attributes(
            self.options.broker_of_store(self.address), prefix, self.options.ceph_ack_level
        )
        sns = make_store_client("sns", self.settings)
        with refusals("the store"):
            yield make_bucket(self.bucket, dry_run=self.dry_run)
            yield from make_announcements(
                self.bucket,
                sns,
                prefix,
                self.routes,
                attributes,
                self.off,
                dry_run=self.dry_run,
            )
            yield from self._lifecycle(aborts_uploads=True)
            yield from self._bucket_policy()

    def minio(self, kind: StoreKind) -> Iterator[Step]:
        """Make targets that lead to the exchange, and rules that lead to the targets."""
        prefix, dry_run = self.address.prefix, self.dry_run
        broker = self.options.broker_of_store(self.address)
        queue_dir = self.options.queue_dir or _QUEUE_DIRS[kind]
        is_minio = kind == "minio"
        describe = minio_target if is_minio else rustfs_target
        targets = {
            name: describe(broker, prefix, name, queue_dir)
            for name in (rule_id(prefix, route) for route in self.routes)
        }
        admin = make_admin(self.settings)
        with admin_refusals(broker.secret_key):
            if is_minio:
                yield put_sync_events(admin, dry_run=dry_run)
            yield from put_targets(admin, targets, restarts=is_minio, dry_run=dry_run)
        with refusals("the store"):
            yield make_bucket(self.bucket, dry_run=dry_run)
            arns = target_arns(kind, prefix, self.routes)
            yield put_queue_rules(self.bucket, prefix, arns, self.table.routes, dry_run=dry_run)
            # MinIO aborts uploads after a day by itself, and supports no such rule.
            yield from self._lifecycle(aborts_uploads=not is_minio)
        with admin_refusals(broker.secret_key):
            yield from put_user_policies(
                admin,
                self.bucket.name,
                prefix,
                self.options.principals,
                bucket_roles(self.table),
                dry_run=dry_run,
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
            self.bucket,
            self.address.prefix,
            self.options.principals,
            bucket_roles(self.table),
            dry_run=self.dry_run,
        )


def make_store_client(service: str, settings: StoreSettings) -> Any:
    """Make botocore's client of one of the store's services."""
    return make_client(
        service,
        endpoint=settings.endpoint,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        region=settings.region,
        ca_file=settings.ca_file,
        timeout=settings.timeout,
    )
