"""``dropscribe bootstrap``: make what the pipeline runs on."""

from __future__ import annotations

import click

from ops.bootstrap import bootstrap
from ops.cli.options import as_json_option
from ops.cli.output import print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.wiring.settings import (
    SERVER_SETTINGS,
    STORE_KINDS,
    BootstrapSettings,
    PoliciesSettings,
    StoreKind,
)


@click.command(
    "bootstrap",
    cls=SettingsCommand,
    settings=(*SERVER_SETTINGS, BootstrapSettings, PoliciesSettings),
)
@click.option(
    "--store",
    type=click.Choice(STORE_KINDS),
    help="The kind of store at S3_ENDPOINT; default: STORE_KIND, or a guess.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@as_json_option
def bootstrap_command(*, store: StoreKind | None, dry_run: bool, as_json: bool) -> None:
    """Create the queues, the bucket and the database schema.

    It also sets the bucket's notification and lifecycle rules.
    Run it once before the first consumer, and again after each upgrade or change
    of settings. It changes only what differs, and leaves the rules and policies of
    others alone. MinIO restarts, within seconds, if its notification targets change.

    With POLICIES_ROOT, a folder of content policies, new batches are moderated:
    bootstrap makes a queue for it, and batches wait for their verdicts. Without
    POLICIES_ROOT new batches are not moderated; the queue and its messages stay.

    \b
    Examples:
      dropscribe bootstrap --dry-run
      dropscribe bootstrap
      RETENTION_DAYS=30 dropscribe bootstrap --store ceph
      POLICIES_ROOT=/etc/dropscribe/policies dropscribe bootstrap
    """  # noqa: D301
    steps = []
    change = "would change" if dry_run else "changed"
    present = "present".ljust(len(change))
    for step in bootstrap(read_environment(), store=store, dry_run=dry_run):
        steps.append({"what": step.what, "changed": step.changed})
        if not as_json:
            click.echo(f"{change if step.changed else present}  {step.what}")
    if as_json:
        print_json({"dry_run": dry_run, "steps": steps})
