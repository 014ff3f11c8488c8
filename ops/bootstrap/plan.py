"""In which order things are made: what something else leads to comes first."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.policy.policy import read_policies
from ops.bootstrap.amqp import keep_queues, make_queues
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.guess import settle
from ops.bootstrap.schema import make_schema, put_moderation
from ops.bootstrap.step import Step
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
from ops.wiring.stages import StageTable


def bootstrap(
    environment: Environment,
    *,
    store: StoreKind | None = None,
    dry_run: bool = False,
    table: StageTable = PIPELINE,
) -> Iterator[Step]:
    """Make what is missing: the broker's queues before the bucket's rules.

    A store has nowhere to send a notification to whose queue is not there. Batches
    wait for verdicts only while the stage is set up that gives them.

    Args:
        environment: Where everything is.
        store: Which store it is; None for what the settings say, or a guess.
        dry_run: Only look; a step that would change something says so.
        table: The stages.

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
    routes = table.routes_of(environment)
    is_moderated = any(route.is_optional for route in routes)
    _check_policies(environment)
    kind = settle(store or options.store_kind, settings, address)
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
    """Make sure that there are policies to judge by, before anything waits for that."""
    root = PoliciesSettings.read(environment).policies_root
    if root is not None:
        read_policies(root)
