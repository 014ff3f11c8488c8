"""The order of bootstrap's steps: a rule comes after the queue that it leads to."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.policy.policy import read_policies
from ops.bootstrap.amqp import keep_queues, make_queues
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.schema import make_schema, put_moderation
from ops.bootstrap.step import Step
from ops.bootstrap.store_kind import choose_store_kind
from ops.bootstrap.stores import StorePlan, make_store_client
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
    settings = StoreSettings.read(environment)
    options = BootstrapSettings.read(environment)
    address = read_broker_address(environment)
    database = DatabaseSettings.read(environment)
    routes = table.routes_of(environment)
    is_moderated = any(route.is_optional for route in routes)
    _check_policies(environment)
    kind = choose_store_kind(store or options.store_kind, settings, address)
    client = make_store_client("s3", settings)
    plan = StorePlan(
        settings=settings,
        options=options,
        address=address,
        bucket=Bucket(client, settings.bucket, settings.region),
        routes=routes,
        table=table,
        dry_run=dry_run,
    )
    if not is_moderated:
        yield put_moderation(database.url, is_on=False, dry_run=dry_run)
    if kind == "aws":
        yield from plan.aws()
    else:
        topology = make_topology(environment)
        yield from make_queues(address, topology, routes, dry_run=dry_run)
        yield from keep_queues(address, topology, plan.off)
        yield from plan.ceph() if kind == "ceph" else plan.minio(kind)
    yield from make_schema(database.url, table.database_roles, dry_run=dry_run)
    if is_moderated:
        yield put_moderation(database.url, is_on=True, dry_run=dry_run)


def _check_policies(environment: Environment) -> None:
    """Make sure that the policies are readable, before anything waits for verdicts."""
    root = PoliciesSettings.read(environment).policies_root
    if root is not None:
        read_policies(root)
