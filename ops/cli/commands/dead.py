"""``dropscribe dead``: deliveries that failed for good."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import click
from rich.console import Console

from consumers.broker.connect import make_dead_letter_queues, open_sender
from consumers.broker.dead_letters import DeadLetterQueues, StoredDeadLetter
from consumers.broker.topology import Topology
from consumers.broker.verdict import REASONS
from events.keys import BatchId
from ops.cli.options import as_json_option, gathered, limit_option, of_batch_option, yes_option
from ops.cli.output import confirm, print_error, print_json, print_more, printable, waiting_for
from ops.cli.render.dead_letters import letter_as_json, letter_in_full, letters_table
from ops.cli.settings import SettingsCommand, read_environment
from ops.recovery.dead_letters import DeadLetterFilter, discard, find, replay
from ops.wiring.adapters import open_database
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import BrokerSettings, DatabaseSettings, read_broker_address


@dataclass(frozen=True, slots=True)
class _Choice:
    """The dead letters that a command is about."""

    route: str | None
    reason: str | None
    batch: BatchId | None
    ids: tuple[str, ...] = ()
    all_of_them: bool = False

    def filter(self, environment: Environment) -> DeadLetterFilter:
        archive_key = None
        if self.batch is not None:
            with open_database(environment) as database:
                row = database.batch(self.batch)
            archive_key = row.archive_key if row else None
        return DeadLetterFilter(
            routes=PIPELINE.routes if self.route is None else (PIPELINE[self.route].route,),
            reason=self.reason,
            batch=self.batch,
            archive_key=archive_key,
            ids=frozenset(self.ids) or None,
        )

    def check(self) -> None:
        """Check that letters are chosen.

        Raises:
            UsageError: None are, or IDs and all.
        """
        if self == _Choice(None, None, None):
            raise click.UsageError("choose dead letters: IDs, --route, --reason, --batch or --all")
        if self.ids and self.all_of_them:
            raise click.UsageError("IDs and --all contradict each other: choose one")


_filters = (
    click.option("--route", type=click.Choice(PIPELINE.names), help="Limit to this route."),
    click.option("--reason", type=click.Choice(REASONS), help="Limit to this reason."),
    of_batch_option,
)
_choice = gathered(
    _Choice,
    click.argument("ids", nargs=-1, metavar="[ID]..."),
    *_filters,
    click.option("--all", "all_of_them", is_flag=True, help="All dead letters."),
)


@click.group()
def dead() -> None:
    """Work with dead letters: deliveries that failed for good.

    A dead letter keeps the original message and the reason why it failed:

    \b
    permanent   the input is invalid (a damaged archive)
    exhausted   a server was unreachable for longer than the retries lasted
    unexpected  an error that dropscribe does not know
    malformed   the message is not a notification
    lost        it was redelivered too often: it may be crashing consumers

    \b
    Once the cause is fixed:
      dropscribe dead list
      dropscribe dead replay --reason exhausted
    """  # noqa: D301


@dead.command("list", cls=SettingsCommand, settings=(BrokerSettings, DatabaseSettings))
@gathered(_Choice, *_filters)
@limit_option(1000)
@as_json_option
def list_command(chosen: _Choice, limit: int, *, as_json: bool) -> None:
    """List dead letters without removing them.

    \b
    Examples:
      dropscribe dead list --route transcribe --reason permanent
    """  # noqa: D301
    environment = read_environment()
    selection = chosen.filter(environment)
    with (
        waiting_for("reading the dead letters"),
        closing(find(_queues(environment), selection)) as letters,
    ):
        # Bodies may be large, so they are left out.
        rows = [letter_as_json(letter) for letter in islice(letters, limit)]
        more = next(letters, None) is not None
    if as_json:
        print_json({"letters": rows, "more": more})
        return
    Console().print(letters_table(rows) if rows else "no dead letters")
    if more:
        print_more(limit)


@dead.command("show", cls=SettingsCommand, settings=(BrokerSettings,))
@click.argument("letter_id", metavar="ID")
@as_json_option
def show_command(letter_id: str, *, as_json: bool) -> None:
    """Show the dead letter ID with its original message.

    \b
    Examples:
      dropscribe dead show 1f6e0a9b2c3d
    """  # noqa: D301
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
@_choice
@as_json_option
def replay_command(chosen: _Choice, *, as_json: bool) -> None:
    """Send dead letters to their consumers again, selected by ID or by options.

    Their retries begin anew. A delivery that fails again becomes a dead letter again.

    \b
    Examples:
      dropscribe dead replay 1f6e0a9b2c3d
      dropscribe dead replay --batch 20250622-143052-a1b2c3
    """  # noqa: D301
    environment = read_environment()
    chosen.check()
    selection = chosen.filter(environment)
    address = read_broker_address(environment)
    with (
        open_database(environment) as database,
        # What only sends needs no delay queues.
        open_sender(address, Topology(address.prefix, delays=())) as sender,
    ):
        done = replay(_queues(environment), sender, database, selection)
        _report("replayed", done, chosen.ids, as_json=as_json)


@dead.command("discard", cls=SettingsCommand, settings=(BrokerSettings, DatabaseSettings))
@_choice
@yes_option
@as_json_option
def discard_command(chosen: _Choice, *, yes: bool, as_json: bool) -> None:
    """Delete dead letters for good, selected by ID or by options.

    Objects and rows stay as they are.

    \b
    Examples:
      dropscribe dead discard --reason malformed
    """  # noqa: D301
    environment = read_environment()
    chosen.check()
    selection = chosen.filter(environment)
    letters = _queues(environment)
    confirm(
        lambda: f"Delete {sum(1 for _ in find(letters, selection))} dead letters for good?", yes=yes
    )
    _report("discarded", discard(letters, selection), chosen.ids, as_json=as_json)


def _queues(environment: Environment) -> DeadLetterQueues:
    return make_dead_letter_queues(read_broker_address(environment))


def _report(
    verb: str, done: Iterable[StoredDeadLetter], ids: tuple[str, ...], *, as_json: bool
) -> None:
    """Print each letter as it is done, and an error for each ID that does not exist."""
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
        print_error(_not_there(letter_id))
    if missing:
        raise click.exceptions.Exit(1)


def _not_there(letter_id: str) -> str:
    return f"there is no dead letter {letter_id} (any more)"
