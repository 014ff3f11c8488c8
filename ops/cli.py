"""The command line."""

from __future__ import annotations

from typing import Any

import click

from consumers.errors import ConfigurationError, PermanentError, TransientError
from ops.commands.bootstrap import bootstrap_command
from ops.commands.consume import consume
from ops.commands.drop import drop
from ops.commands.search import search
from ops.commands.status import status
from ops.commands.transcripts import transcripts
from ops.commands.try_ import try_
from ops.commands.up import up


class _Commands(click.Group):
    """Shows errors as a line of words, and lists the commands in the order of their use."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ConfigurationError, PermanentError, TransientError) as exc:
            raise click.ClickException(str(exc)) from exc

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dropscribe")
def main() -> None:
    r"""Drop an archive of sound recordings into a bucket; get transcripts.

    \b
    On one machine, with nothing set up:
      dropscribe try my-recordings.tar.gz

    \b
    With servers of your own (see the README for the settings):
      dropscribe bootstrap
      dropscribe consume unpack transcribe
      dropscribe drop --wait my-recordings.tar.gz
      dropscribe transcripts BATCH --out transcripts/
    """


for _command in (try_, up, bootstrap_command, consume, drop, status, transcripts, search):
    main.add_command(_command)
