"""The order of bootstrap's steps: a rule comes after the queue that it leads to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

from consumers.broker.address import BrokerAddress
from consumers.network.aws import make_client
from consumers.policy.policy import read_policies
from events.routes import Route, rule_id
from ops.bootstrap import amqp, minio, sqs
from ops.bootstrap.bucket import Bucket, bucket_step, lifecycle_steps
from ops.bootstrap.bucket_rights import bucket_roles, policy_steps
from ops.bootstrap.ceph import topic_attributes, topic_steps
from ops.bootstrap.rules import CREATED, RESTORED, queue_rules_step
from ops.bootstrap.schema import make_schema, put_moderation
from ops.bootstrap.step import Step, applied, refusals
from ops.bootstrap.store_kind import choose_store_kind
from ops.wiring.adapters import make_topology
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import (
    BootstrapSettings,
    DatabaseSettings,
    PoliciesSettings,
    StoreKind,
    StoreSettings,
    read_broker_address,
)
from ops.wiring.stage_table import StageTable


@dataclass(frozen=True, slots=True)
class StorePlan:
    """The steps in and around the store, by its kind.

    Attributes:
        kind: The kind.
        settings: The address and the credentials of the store.
        options: Its set-up.
        broker: The broker's address from here.
        bucket: The bucket.
        table: All stages.
        queues: The queues on SQS; None with another broker.
    """

    kind: StoreKind
    settings: StoreSettings
    options: BootstrapSettings
    broker: BrokerAddress
    bucket: Bucket
    table: StageTable
    queues: sqs.KnownQueues | None = None

    @classmethod
    def read(
        cls,
        environment: Environment,
        table: StageTable,
        routes: tuple[Route, ...],
        store: StoreKind | None = None,
    ) -> Self:
        """Read the settings, and ask the store for its kind if they do not name it.

        Raises:
            ConfigurationError: A setting is invalid, or the kind is unclear.
            TransientError: The store is unreachable.
        """
        settings = StoreSettings.read(environment)
        options = BootstrapSettings.read(environment)
        broker = read_broker_address(environment)
        kind = choose_store_kind(store or options.store_kind, settings, broker)
        bucket = Bucket(
            client=_make_client("s3", settings, settings.timeout),
            name=settings.bucket,
            region=settings.region,
            prefix=broker.prefix,
            routes=routes,
            off=tuple(route for route in table.routes if route not in routes),
        )
        queues = (
            sqs.KnownQueues(_make_client("sqs", broker, settings.timeout))
            if kind == "aws"
            else None
        )
        return cls(kind, settings, options, broker, bucket, table, queues)

    def steps(self, *, dry_run: bool) -> Iterator[Step]:
        """Make what notifications pass, then the bucket and its rules, then the rights."""
        for errors, steps in self._phases():
            with errors:
                yield from applied(steps, dry_run=dry_run)

    def _phases(self) -> Iterator[tuple[AbstractContextManager[None], Iterator[Step]]]:
        secret = self.options.broker_of_store(self.broker).secret_key
        if self.queues is not None:
            yield refusals("SQS"), sqs.queue_steps(self.queues, self.bucket)
        elif self.kind != "ceph":
            yield minio.admin_refusals(secret), self._target_steps()
        yield refusals("the store"), self._bucket_steps()
        principals, roles = self.options.principals, bucket_roles(self.table)
        if self.kind in {"aws", "ceph"}:
            yield refusals("the store"), policy_steps(self.bucket, principals, roles)
        else:
            admin = minio.make_admin(self.settings)
            steps = minio.user_policy_steps(admin, self.bucket, principals, roles)
            yield minio.admin_refusals(secret), steps

    def _target_steps(self) -> Iterator[Step]:
        broker, prefix = self.options.broker_of_store(self.broker), self.bucket.prefix
        admin, is_minio = minio.make_admin(self.settings), self.kind == "minio"
        if is_minio:
            yield minio.sync_events_step(admin)
        targets = {
            name: minio.make_target(self.kind, broker, prefix, name, self.options.queue_dir)
            for name in (rule_id(prefix, route) for route in self.bucket.routes)
        }
        yield from minio.target_steps(admin, targets, restarts=is_minio)

    def _bucket_steps(self) -> Iterator[Step]:
        yield bucket_step(self.bucket)
        yield from self.rule_steps()
        yield from self.lifecycle_steps()

    def rule_steps(self, *, compares_topics: bool = True) -> Iterator[Step]:
        """Set the bucket's rules for notification; on Ceph also the topics that they lead to.

        Args:
            compares_topics: Whether the attributes of topics have to be as well; they name
                the store's user and password at the broker.
        """
        if self.kind == "ceph":
            broker = self.options.broker_of_store(self.broker)
            wanted = topic_attributes(broker, self.bucket.prefix, self.options.ceph_ack_level)
            sns = _make_client("sns", self.settings, self.settings.timeout)
            yield from topic_steps(self.bucket, sns, wanted if compares_topics else None)
        elif self.queues is not None:
            arns = sqs.queue_arns(self.queues, self.bucket)
            yield queue_rules_step(self.bucket, arns, (*CREATED, *RESTORED))
        else:
            yield queue_rules_step(self.bucket, minio.target_arns(self.kind, self.bucket))

    def lifecycle_steps(self) -> Iterator[Step]:
        """Set the bucket's rules for expiry."""
        # MinIO aborts uploads after a day by itself, and supports no such rule.
        return lifecycle_steps(
            self.bucket,
            self.options.retention_days,
            with_losses_days=self.options.retention_days_with_losses,
            aborts_uploads=self.kind != "minio",
        )


def _make_client(service: str, server: StoreSettings | BrokerAddress, timeout: float) -> Any:
    return make_client(
        service,
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
        ca_file=server.ca_file,
        timeout=timeout,
    )


def bootstrap(
    environment: Environment,
    *,
    store: StoreKind | None = None,
    dry_run: bool = False,
    table: StageTable = PIPELINE,
) -> Iterator[Step]:
    """Create what is missing: the broker's queues before the bucket's rules.

    A notification without a queue is lost. Batches wait for verdicts only while ``moderate``
    is set up.

    Args:
        environment: The settings.
        store: The kind of store; None for that of the settings, or to ask the store.
        dry_run: Change nothing; each step says whether it would.
        table: The stages.

    Yields:
        Each step, once it is done.

    Raises:
        ConfigurationError: A setting is invalid, or the credentials lack a right.
        TransientError: A server is unreachable.
    """
    url = DatabaseSettings.read(environment).url
    routes = table.routes_of(environment)
    is_moderated = any(route.is_optional for route in routes)
    _check_policies(environment)
    plan = StorePlan.read(environment, table, routes, store)
    if not is_moderated:
        yield put_moderation(url, is_on=False, dry_run=dry_run)
    if plan.broker.is_amqp:
        topology = make_topology(environment)
        yield from amqp.queue_steps(plan.broker, topology, plan.bucket, dry_run=dry_run)
    yield from plan.steps(dry_run=dry_run)
    yield from make_schema(url, table.database_roles, dry_run=dry_run)
    if is_moderated:
        yield put_moderation(url, is_on=True, dry_run=dry_run)


def _check_policies(environment: Environment) -> None:
    """Make sure that the policies are readable, before anything waits for verdicts."""
    root = PoliciesSettings.read(environment).policies_root
    if root is not None:
        read_policies(root)
