"""The command line. A command's module is imported only when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from consumers.errors import ConfigurationError, PermanentError, TransientError

#: The commands, in the order of their use.
COMMANDS: Mapping[str, str] = {
    "try": "ops.cli.commands.try_:try_",
    "up": "ops.cli.commands.up:up",
    "bootstrap": "ops.cli.commands.bootstrap:bootstrap_command",
    "consume": "ops.cli.commands.consume:consume",
    "drop": "ops.cli.commands.drop:drop",
    "transfer": "ops.cli.commands.transfer:transfer",
    "status": "ops.cli.commands.status:status",
    "health": "ops.cli.commands.health:health",
    "transcripts": "ops.cli.commands.transcripts:transcripts",
    "search": "ops.cli.commands.search:search",
    "policy": "ops.cli.commands.policy:policy",
    "review": "ops.cli.commands.review:review",
    "dead": "ops.cli.commands.dead:dead",
    "sweep": "ops.cli.commands.sweep:sweep",
    "rebuild": "ops.cli.commands.rebuild:rebuild",
    "release": "ops.cli.commands.release:release",
    "reprocess": "ops.cli.commands.reprocess:reprocess",
}


class _Commands(click.Group):
    """Loads commands lazily, and prints errors as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ConfigurationError, PermanentError, TransientError) as exc:
            raise click.ClickException(str(exc)) from exc


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dropscribe")
def main() -> None:
    """Turn archives of sound recordings into transcripts.

    Drop an archive into a bucket: every recording is converted to Opus, transcribed,
    checked against content policies, and queued for review if flagged, doubtful or
    sampled.

    \b
    On one machine, without any setup:
      dropscribe try my-recordings.tar.gz

    \b
    With servers of your own (each command's --help lists its settings):
      dropscribe bootstrap
      dropscribe consume unpack transcribe review
      dropscribe drop --wait my-recordings.tar.gz
      dropscribe transcripts BATCH --out transcripts/

    \b
    With content policies, and people who review flagged passages:
      dropscribe policy examples --to policies/
      dropscribe consume moderate
      dropscribe review next --as anna

    \b
    When something goes wrong:
      dropscribe health
      dropscribe dead list
      dropscribe sweep
    """  # noqa: D301
