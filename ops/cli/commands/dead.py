"""``dropscribe dead``: what could not be done, and what becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import islice
from typing import TypeVar

import click
from rich.console import Console

from consumers.broker.connect import make_dead_letter_queues, open_sender
from consumers.broker.dead_letters import DeadLetterQueues, StoredDeadLetter
from consumers.broker.topology import Topology
from consumers.broker.verdict import REASONS
from events.keys import BatchId
from ops.cli.commands.parameters import BATCH
from ops.cli.render.dead_letters import letter_as_json, letter_in_full, letters_table, printable
from ops.cli.render.progress import print_json, waiting_for
from ops.cli.settings import SettingsCommand, read_environment
from ops.recovery.dead_letters import DeadLetterFilter, archive_of, discard, find, replay
from ops.wiring.adapters import open_database
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import BrokerSettings, DatabaseSettings, read_broker_address

_Command = TypeVar("_Command", bound=Callable[..., object])

_IDS = click.argument("ids", nargs=-1, metavar="[ID]...")
_ALL = click.option("--all", "all_of_them", is_flag=True, help="All dead letters there are.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _filters(command: _Command) -> _Command:
    """Add the options by which letters are chosen."""
    names = PIPELINE.names
    for option in (
        click.option("--batch", type=BATCH, help="Only of this batch."),
        click.option("--reason", type=click.Choice(REASONS), help="Only with this reason."),
        click.option("--route", type=click.Choice(names), help="Only of this route."),
    ):
        command = option(command)
    return command


@click.group()
def dead() -> None:
    """See what could not be done, and send it again.

    What failed too often, or can't be helped, is kept with its reason:

    \b
    permanent   the input is at fault (a damaged archive)
    exhausted   something was away for longer than it was tried
    unexpected  it failed in a way that dropscribe does not know
    malformed   it is no notification
    lost        it came back again and again: consumers may die of it

    \b
    Once the cause is mended:
      dropscribe dead list
      dropscribe dead replay --reason exhausted
    """  # noqa: D301


@dead.command("list", cls=SettingsCommand, settings=(BrokerSettings, DatabaseSettings))
@_filters
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many to show at most.",
)
@_JSON
def list_command(
    route: str | None, reason: str | None, batch: BatchId | None, limit: int, *, as_json: bool
) -> None:
    """Show the dead letters; they stay where they are.

    \b
    For example:
      dropscribe dead list --route transcribe --reason permanent
    """  # noqa: D301
    environment = read_environment()
    selection = _selection(environment, route, reason, batch)
    with (
        waiting_for("reading the dead letters"),
        closing(find(_queues(environment), selection)) as letters,
    ):
        # Without their bodies, which may be large.
        rows = [letter_as_json(letter) for letter in islice(letters, limit)]
        more = next(letters, None) is not None
    if as_json:
        print_json({"letters": rows, "more": more})
    elif rows:
        Console().print(letters_table(rows))
    else:
        click.echo("no dead letters")
    if more and not as_json:
        click.echo(f"There are more than these {limit}: see --limit, or choose by --batch.")


@dead.command("show", cls=SettingsCommand, settings=(BrokerSettings,))
@click.argument("letter_id", metavar="ID")
@_JSON
def show_command(letter_id: str, *, as_json: bool) -> None:
    """Show all that is known of the dead letter ID, with the original message."""
    selection = DeadLetterFilter(ids=frozenset([letter_id]))
    with closing(find(_queues(read_environment()), selection)) as letters:
        letter = next(letters, None)
    if letter is None:
        raise click.ClickException(_not_there(letter_id))
    if as_json:
        print_json({**letter_as_json(letter), "body": letter.text})
    else:
        click.echo(letter_in_full(letter))


@dead.command("replay", cls=SettingsCommand, settings=(BrokerSettings, DatabaseSettings))
@_IDS
@_filters
@_ALL
@_JSON
def replay_command(
    ids: tuple[str, ...],
    route: str | None,
    reason: str | None,
    batch: BatchId | None,
    *,
    all_of_them: bool,
    as_json: bool,
) -> None:
    """Send dead letters again: by their IDs, by options, or --all.

    They come as first attempts; what fails again is dead again.

    \b
    For example:
      dropscribe dead replay 1f6e0a9b2c3d
      dropscribe dead replay --batch 20250622-143052-a1b2c3
    """  # noqa: D301
    environment = read_environment()
    _check_chosen(ids, route, reason, batch, all_of_them=all_of_them)
    selection = _selection(environment, route, reason, batch, ids)
    address = read_broker_address(environment)
    with (
        open_database(environment) as database,
        # What only sends needs no delay queues.
        open_sender(address, Topology(address.prefix, delays=())) as sender,
    ):
        done = replay(_queues(environment), sender, database, selection)
        _report("replayed", done, ids, as_json=as_json)


@dead.command("discard", cls=SettingsCommand, settings=(BrokerSettings, DatabaseSettings))
@_IDS
@_filters
@_ALL
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
def discard_command(
    ids: tuple[str, ...],
    route: str | None,
    reason: str | None,
    batch: BatchId | None,
    *,
    all_of_them: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Throw dead letters away for ever: by their IDs, by options, or --all.

    Neither objects nor rows are touched.

    \b
    For example:
      dropscribe dead discard --reason malformed
    """  # noqa: D301
    environment = read_environment()
    _check_chosen(ids, route, reason, batch, all_of_them=all_of_them)
    selection = _selection(environment, route, reason, batch, ids)
    letters = _queues(environment)
    if not yes:
        _ask(letters, selection)
    _report("discarded", discard(letters, selection), ids, as_json=as_json)


def _queues(environment: Environment) -> DeadLetterQueues:
    return make_dead_letter_queues(read_broker_address(environment))


def _check_chosen(ids: tuple[str, ...], *filters: object, all_of_them: bool) -> None:
    if not (ids or all_of_them or any(each is not None for each in filters)):
        raise click.UsageError("say which: by IDs, --route, --reason, --batch or --all")
    if ids and all_of_them:
        raise click.UsageError("IDs and --all contradict each other: choose one")


def _selection(
    environment: Environment,
    route: str | None,
    reason: str | None,
    batch: BatchId | None,
    ids: tuple[str, ...] = (),
) -> DeadLetterFilter:
    archive_key = None
    if batch is not None:
        with open_database(environment) as database:
            archive_key = archive_of(database, batch)
    return DeadLetterFilter(
        routes=PIPELINE.routes if route is None else (PIPELINE[route].route,),
        reason=reason,
        batch=batch,
        archive_key=archive_key,
        ids=frozenset(ids) or None,
    )


def _ask(letters: DeadLetterQueues, selection: DeadLetterFilter) -> None:
    if not _is_terminal():
        raise click.UsageError("nobody can be asked here: discard needs --yes")
    number = sum(1 for _ in find(letters, selection))
    # On standard error, as standard output may be JSON for a program.
    click.confirm(f"Throw {number} dead letters away for ever?", abort=True, err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _report(
    verb: str, done: Iterable[StoredDeadLetter], ids: tuple[str, ...], *, as_json: bool
) -> None:
    """Say what is done as it is done; a letter that was not there is an error."""
    gone: list[str] = []
    for letter in done:
        gone.append(letter.id)
        if not as_json:
            click.echo(printable("  ".join([verb, letter.id, letter.route.name, *letter.keys])))
    missing = [letter_id for letter_id in dict.fromkeys(ids) if letter_id not in gone]
    if as_json:
        print_json({verb: gone, "missing": missing})
    elif not gone and not missing:
        click.echo("no dead letters")
    for letter_id in missing:
        click.echo(f"Error: {_not_there(letter_id)}", err=True)
    if missing:
        raise click.exceptions.Exit(1)


def _not_there(letter_id: str) -> str:
    return f"there is no dead letter {letter_id} (any more)"
