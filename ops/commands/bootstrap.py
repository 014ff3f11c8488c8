"""``dropscribe bootstrap``: make what the pipeline runs on."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from ops.bootstrap import bootstrap
from ops.environment import Environment
from ops.output import print_json


@click.command("bootstrap")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bootstrap_command(*, as_json: bool) -> None:
    """Create the queues, the bucket with its notification rules, and the schema.

    What is there already stays as it is, so it can be run at any time: after an
    upgrade, or to make sure.

    Settings: S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY, S3_BUCKET, S3_REGION,
    BROKER_URL, BROKER_PREFIX, DATABASE_URL.
    """
    steps = []
    for step in bootstrap(Environment(os.environ)):
        steps.append(asdict(step))
        if not as_json:
            click.echo(f"{'changed' if step.changed else 'present'}  {step.what}")
    if as_json:
        print_json({"steps": steps})
