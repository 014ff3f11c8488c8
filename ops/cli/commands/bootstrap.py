"""``dropscribe bootstrap``: make what the pipeline runs on."""

from __future__ import annotations

from dataclasses import asdict

import click

from ops.bootstrap import bootstrap
from ops.cli.render.progress import print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.wiring.settings import (
    STORE_KINDS,
    BootstrapSettings,
    BrokerSettings,
    DatabaseSettings,
    LoopSettings,
    PoliciesSettings,
    StoreKind,
    StoreSettings,
)


@click.command(
    "bootstrap",
    cls=SettingsCommand,
    settings=(
        StoreSettings,
        BootstrapSettings,
        BrokerSettings,
        DatabaseSettings,
        LoopSettings,
        PoliciesSettings,
    ),
)
@click.option(
    "--store",
    type=click.Choice(STORE_KINDS),
    help="Which store S3_ENDPOINT is; without, STORE_KIND says so, or it is guessed.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bootstrap_command(*, store: StoreKind | None, dry_run: bool, as_json: bool) -> None:
    """Create the queues, the bucket with its rules, and the schema.

    What is there already stays as it is, so it can be run at any time: after an
    upgrade, or to make sure. Rules and policies that others made are left alone.

    \b
      dropscribe bootstrap --dry-run
      dropscribe bootstrap
      RETENTION_DAYS=30 dropscribe bootstrap --store ceph

    With MinIO, a change of where it announces restarts the store, which takes
    seconds.

    With POLICIES_ROOT, a folder of policies, recordings are moderated: there is a
    queue for it, and batches that are new wait for their verdicts. Without it,
    they do not; what lies in the queue stays there.

    \b
      POLICIES_ROOT=/etc/dropscribe/policies dropscribe bootstrap
    """  # noqa: D301
    steps = []
    change = "would change" if dry_run else "changed"
    present = "present".ljust(len(change))
    for step in bootstrap(read_environment(), store=store, dry_run=dry_run):
        steps.append(asdict(step))
        if not as_json:
            click.echo(f"{change if step.changed else present}  {step.what}")
    if as_json:
        print_json({"dry_run": dry_run, "steps": steps})
