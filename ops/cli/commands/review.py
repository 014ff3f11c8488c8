"""``dropscribe review``: hear what was found, and decide."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import click

from consumers.database.review_queue import ItemFilter
from consumers.documents.review.decision import ANSWERS, Answer
from consumers.documents.review.export import EXPORT_FORMATS, ExportFormat, write_csv, write_jsonl
from consumers.documents.review.item import ITEM_KINDS, ItemKind, ReviewItem
from consumers.documents.review.reviewed_item import REVIEW_STATES, ReviewState
from consumers.documents.review.statistics import review_statistics
from consumers.errors import PermanentError
from consumers.review_desk import Desk
from events.keys import BatchId
from ops.cli.commands.parameters import BATCH, DURATION
from ops.cli.render.progress import print_json, waiting_for
from ops.cli.render.review import figures_in_full, in_full, items_in_lines
from ops.cli.settings import SettingsCommand, read_environment
from ops.wiring.adapters import make_store, open_reviewing, utc_now
from ops.wiring.environment import Environment
from ops.wiring.settings import DatabaseSettings, StoreSettings

_Command = TypeVar("_Command", bound=Callable[..., object])

#: Characters of a reviewer's name.
_NAME = 100


class _TextType(click.ParamType[str]):
    """A text that can be stored: the system may hand over bytes that are none."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        if any("\ud800" <= each <= "\udfff" for each in text):
            self.fail("it is no text in the terminal's encoding", param, ctx)
        return text


class _NameType(_TextType):
    name = "name"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        name = " ".join(super().convert(value, param, ctx).split())
        if not (name and name.isprintable() and len(name) <= _NAME):
            self.fail(f"{name!r} is no name of 1 to {_NAME} printable characters", param, ctx)
        return name


class _WordType(click.ParamType[tuple[int, str]]):
    name = "word"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, str]:
        if isinstance(value, tuple):
            return value
        number, separator, right = _TextType().convert(value, param, ctx).partition("=")
        if not (separator and number.isascii() and number.isdecimal() and len(number) < _DIGITS):
            self.fail(f"{value!r} is not of the form NUMBER=RIGHT, like 3=harbour", param, ctx)
        return int(number), right


#: Of a word's number.
_DIGITS = 10

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_AS = click.option(
    "--as",
    "reviewer",
    type=_NameType(),
    envvar="REVIEWER",
    show_envvar=True,
    required=True,
    metavar="NAME",
    help="Who you are.",
)
_CLIP = click.option(
    "--clip",
    "clip",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Save the clip (Ogg Opus) to FILE, to be played.",
)
_OF_BATCH = click.option("--batch", type=BATCH, help="Only of this batch.")


def _filters(command: _Command) -> _Command:
    """Add the options by which items are chosen."""
    for option in (
        click.option("--kind", type=click.Choice(ITEM_KINDS), help="Only of this kind."),
        click.option("--policy", type=_TextType(), help="Only what this policy flags."),
        _OF_BATCH,
    ):
        command = option(command)
    return command


@click.group()
def review() -> None:
    """Hear what was found in recordings, and decide whether it is right.

    When a batch is complete, these of its passages are put in line:

    \b
    flagged   what a policy flags, the surest first
    doubtful  where the transcript may be wrong
    sample    at random, of what no policy flags

    \b
    A reviewer's day:
      export REVIEWER='Ada L.'
      dropscribe review next --clip passage.ogg
      mpv passage.ogg
      dropscribe review decide ITEM uphold --note 'a threat, said in earnest'
    """  # noqa: D301


@review.command("list", cls=SettingsCommand, settings=(DatabaseSettings,))
@_filters
@click.option("--state", type=click.Choice(REVIEW_STATES), help="Only in this state.")
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=1_000_000),
    default=100,
    show_default=True,
    help="How many to show at most.",
)
@_JSON
def list_command(
    batch: BatchId | None,
    policy: str | None,
    kind: ItemKind | None,
    state: ReviewState | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Show the items, in the order in which reviewers get them.

    \b
    open      nobody decided, and nobody has it in hand
    claimed   nobody decided, and somebody has it in hand
    decided   somebody decided
    disputed  somebody upholds it, and somebody rejects it

    \b
    For example:
      dropscribe review list --policy hate --state open
    """  # noqa: D301
    with open_reviewing(read_environment()) as reviewing:
        rows = reviewing.items(ItemFilter(batch, policy, kind), state, limit + 1)
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        print_json({"items": [row.to_document() for row in rows], "more": more})
    elif rows:
        click.echo("\n".join(items_in_lines(rows)))
    else:
        click.echo("nothing to review")
    if more and not as_json:
        click.echo(f"There are more than these {limit}: see --limit, or choose by --batch.")


@review.command("show", cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings))
@click.argument("item_id", metavar="ITEM")
@_CLIP
@_JSON
def show_command(item_id: str, clip: Path | None, *, as_json: bool) -> None:
    """Show all that is known of ITEM: its words, the finding, and what was decided.

    \b
    For example:
      dropscribe review show 20250622-143052-a1b2c3-0000001-5d41402abc4b --clip passage.ogg
    """  # noqa: D301
    environment = read_environment()
    with open_reviewing(environment) as reviewing:
        row = reviewing.item(item_id)
    if as_json:
        print_json(row.to_document())
    else:
        click.echo(in_full(row))
    _save(environment, row.item, clip)


@review.command("next", cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings))
@_AS
@_filters
@click.option(
    "--lease",
    type=DURATION,
    default="30min",
    show_default=True,
    help="For how long nobody else gets it.",
)
@click.option(
    "--second",
    is_flag=True,
    help="One that exactly one other person decided: for a second opinion.",
)
@_CLIP
@_JSON
@click.pass_context
def next_command(
    context: click.Context,
    reviewer: str,
    batch: BatchId | None,
    policy: str | None,
    kind: ItemKind | None,
    lease: timedelta,
    clip: Path | None,
    *,
    second: bool,
    as_json: bool,
) -> None:
    """Take the next item in hand, and show it.

    Nobody else gets it before the lease is over. Asking again before you decided
    gives you the same, with a new lease. The exit code is 1 where there is none.

    With --second you are not told what the other person decided.

    \b
    For example:
      dropscribe review next --as 'Ada L.' --lease 10min --clip passage.ogg
    """  # noqa: D301
    environment = read_environment()
    chosen = ItemFilter(batch, policy, kind)
    with open_reviewing(environment) as reviewing:
        row = reviewing.claim(reviewer, lease, chosen, second=second)
    if row is None:
        _say_none(as_json=as_json)
        context.exit(1)
    # An opinion is one's own only as long as one does not know the other's.
    row = row.unseen()
    if as_json:
        print_json({"item": row.to_document()})
    else:
        click.echo(in_full(row))
    _save(environment, row.item, clip)


@review.command("decide", cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings))
@click.argument("item_id", metavar="ITEM")
@click.argument("answer", type=click.Choice(ANSWERS))
@_AS
@click.option("--note", type=_TextType(), help="What else there is to say.")
@click.option(
    "--word",
    "words",
    type=_WordType(),
    multiple=True,
    metavar="NUMBER=RIGHT",
    help="What is said instead of the word of that number. Can be given several times.",
)
@_JSON
def decide_command(
    item_id: str,
    answer: Answer,
    reviewer: str,
    note: str | None,
    words: Sequence[tuple[int, str]],
    *,
    as_json: bool,
) -> None:
    """Say whether the finding of ITEM is right.

    \b
              uphold                     reject
    flagged   it violates the policy     it does not
    doubtful  the words are wrong        they are right
    sample    nothing in it violates     something does

    "unsure" is an answer, too. Deciding again adds a decision: your latest one
    counts, and none is ever overwritten.

    \b
    For example:
      dropscribe review decide ITEM reject --note 'it is a quotation'
      dropscribe review decide ITEM uphold --word 3=harbour --word 7=
    """  # noqa: D301
    environment = read_environment()
    if len({number for number, _ in words}) < len(words):
        raise click.UsageError("a word is corrected twice: give each --word once")
    with open_reviewing(environment) as reviewing:
        desk = Desk(make_store(environment), reviewing, utc_now)
        decision = desk.decide(item_id, answer, reviewer=reviewer, note=note, words=dict(words))
    if as_json:
        print_json({"item_id": item_id, **decision.to_document(), "key": decision.key})
    else:
        click.echo(f"{answer}  {item_id}  {decision.key}")


@review.command("export", cls=SettingsCommand, settings=(DatabaseSettings,))
@_OF_BATCH
@click.option(
    "--format",
    "form",
    type=click.Choice(EXPORT_FORMATS),
    default="csv",
    show_default=True,
    help="CSV has a line per decision, JSON Lines one per item.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE; else to standard output.",
)
def export_command(batch: BatchId | None, form: ExportFormat, out: Path | None) -> None:
    """Write all items with their decisions, for other programs.

    In CSV, a text that a spreadsheet would take for a formula (one that begins with
    = + - or @) has an apostrophe in front. JSON Lines have everything as it is.

    \b
    For example:
      dropscribe review export --format jsonl --out decisions.jsonl
    """  # noqa: D301
    write = write_csv if form == "csv" else write_jsonl
    with open_reviewing(read_environment()) as reviewing:
        if out is None:
            write(reviewing.all(batch), sys.stdout)
            return
        try:
            # CSV ends its lines itself.
            with waiting_for("exporting"), out.open("w", encoding="utf-8", newline="") as file:
                write(reviewing.all(batch), file)
        except OSError as exc:
            raise _unwritable(out, exc) from exc


@review.command("figures", cls=SettingsCommand, settings=(DatabaseSettings,))
@_OF_BATCH
@_JSON
def figures_command(batch: BatchId | None, *, as_json: bool) -> None:
    """Say how often the findings are right, and how far reviewers agree.

    Precision is the share of what is upheld in what is upheld or rejected, by
    policy and version. What the policies miss is the share of the sample in which
    something violates: of single windows, drawn from recordings that none flags.
    Of each reviewer the latest decision counts; an item on which they disagree
    counts as disputed, and neither way.

    \b
    For example:
      dropscribe review figures --batch 20250622-143052-a1b2c3
    """  # noqa: D301
    with open_reviewing(read_environment()) as reviewing, waiting_for("counting"):
        found = review_statistics(reviewing.all(batch))
    if as_json:
        print_json(found.to_document())
    else:
        click.echo(figures_in_full(found))


def _say_none(*, as_json: bool) -> None:
    if as_json:
        print_json({"item": None})
    else:
        click.echo("nothing to review")


def _save(environment: Environment, item: ReviewItem, path: Path | None) -> None:
    if path is None:
        return
    content = make_store(environment).read(item.clip_key)
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise _unwritable(path, exc) from exc


def _unwritable(path: Path, exc: OSError) -> PermanentError:
    return PermanentError(f"{path}: {exc.strerror or exc}")
