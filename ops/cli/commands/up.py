"""``dropscribe up``: the embedded stack in the foreground."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from contextlib import ExitStack

import click

from ops.cli.options import as_json_option
from ops.cli.output import print_json, waiting_for
from ops.cli.settings import SettingsCommand
from ops.embedded.stack import STACK_SETTINGS, run_stack


@click.command(cls=SettingsCommand, settings=STACK_SETTINGS)
@as_json_option
def up(*, as_json: bool) -> None:
    """Run the embedded stack until Ctrl-C.

    The stack is an object store, a queue, a database and the consumers, on this
    machine. The command prints the settings by which the other commands reach it,
    as lines for a shell. Everything in the stack is deleted at exit.

    \b
    Examples:
      dropscribe up                  # in one terminal
      export S3_ENDPOINT=... ...     # in another: paste the printed lines
      dropscribe drop --wait calls.zip
    """  # noqa: D301
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as running:
        with waiting_for("starting the embedded stack"):
            stack = running.enter_context(run_stack(os.environ))
        if as_json:
            print_json(dict(stack.variables))
        else:
            for name, value in stack.variables.items():
                click.echo(f"export {name}={shlex.quote(value)}")
        click.echo(
            "# The stack runs until Ctrl-C. Its bucket and database are deleted then.", err=True
        )
        if "POLICIES_ROOT" not in stack.variables:
            click.echo("# POLICIES_ROOT is not set, so recordings are not moderated.", err=True)
        while not stop.wait(1.0):
            stack.check()
