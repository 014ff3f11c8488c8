"""``dropscribe review``: listen to what was found, and decide."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from consumers.database.review_queue import ItemFilter
from consumers.documents.review.decision import ANSWERS, Answer
from consumers.documents.review.export import EXPORT_FORMATS, ExportFormat, write_csv, write_jsonl
from consumers.documents.review.item import ITEM_KINDS, ReviewItem
from consumers.documents.review.reviewed_item import REVIEW_STATES, ReviewState
from consumers.documents.review.statistics import review_statistics
from consumers.errors import PermanentError
from consumers.stages.review_decision import Desk
from events.keys import BatchId
from ops.cli.options import (
    DURATION,
    NEW_FILE,
    TEXT,
    ParsedType,
    as_json_option,
    gathered,
    limit_option,
    of_batch_option,
    parse_text,
    reviewer_option,
)
from ops.cli.output import print_json, print_more, waiting_for
from ops.cli.render.review import figures_in_full, in_full, items_in_lines
from ops.cli.settings import SettingsCommand, read_environment
from ops.wiring.adapters import make_store, open_reviewing, utc_now
from ops.wiring.environment import Environment
from ops.wiring.settings import DatabaseSettings, StoreSettings

#: Digits of the number of a word, and one more.
_DIGITS = 10


def _parse_word(text: str) -> tuple[int, str]:
    number, separator, right = parse_text(text).partition("=")
    if not (separator and number.isascii() and number.isdecimal() and len(number) < _DIGITS):
        raise ValueError(f"{text!r} is not of the form NUMBER=RIGHT, like 3=harbour")
    return int(number), right


_clip_option = click.option(
    "--clip", type=NEW_FILE, metavar="FILE", help="Save the audio clip (Ogg Opus) to FILE."
)
_filters = gathered(
    ItemFilter,
    of_batch_option,
    click.option("--policy", type=TEXT, help="Limit to items that this policy flags."),
    click.option("--kind", type=click.Choice(ITEM_KINDS), help="Limit to this kind."),
)


@click.group()
def review() -> None:
    """Review flagged, doubtful and sampled passages.

    When a batch completes, these of its passages become review items:

    \b
    flagged   passages that a policy flags, highest score first
    doubtful  passages whose transcript may be wrong
    sample    random passages that no policy flags

    \b
    A reviewer's day:
      export REVIEWER='Ada L.'
      dropscribe review next --clip passage.ogg
      mpv passage.ogg
      dropscribe review decide ITEM uphold --note 'a serious threat'
    """  # noqa: D301


@review.command("list", cls=SettingsCommand, settings=(DatabaseSettings,))
@_filters
@click.option("--state", type=click.Choice(REVIEW_STATES), help="Limit to this state.")
@limit_option(100, most=1_000_000)
@as_json_option
def list_command(
    chosen: ItemFilter, state: ReviewState | None, limit: int, *, as_json: bool
) -> None:
    """List the review items, in the order in which reviewers get them.

    \b
    open      without a decision, and free
    claimed   without a decision, and reserved for a reviewer
    decided   with a decision
    disputed  one reviewer upholds it, and another rejects it

    \b
    Examples:
      dropscribe review list --policy hate --state open
    """  # noqa: D301
    with open_reviewing(read_environment()) as reviewing:
        rows = reviewing.items(chosen, state, limit + 1)
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        print_json({"items": [row.to_document() for row in rows], "more": more})
        return
    click.echo("\n".join(items_in_lines(rows)) if rows else "nothing to review")
    if more:
        print_more(limit)


@review.command("show", cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings))
@click.argument("item_id", metavar="ITEM")
@_clip_option
@as_json_option
def show_command(item_id: str, clip: Path | None, *, as_json: bool) -> None:
    """Show ITEM: its words, the finding, and the decisions.

    \b
    Examples:
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
@reviewer_option
@_filters
@click.option(
    "--lease",
    type=DURATION,
    default="30min",
    show_default=True,
    help="How long the item is reserved for you.",
)
@click.option(
    "--second",
    is_flag=True,
    help="Give a second opinion: an item that exactly one other person decided.",
)
@_clip_option
@as_json_option
def next_command(
    reviewer: str,
    chosen: ItemFilter,
    lease: timedelta,
    clip: Path | None,
    *,
    second: bool,
    as_json: bool,
) -> None:
    """Reserve the next item for you, and show it.

    Nobody else gets the item until the lease ends. Until you decide, the command
    gives you the same item again and renews the lease. The exit code is 1 if there
    is nothing to review.

    With --second, the other person's decision is hidden.

    \b
    Examples:
      dropscribe review next --as 'Ada L.' --lease 10min --clip passage.ogg
    """  # noqa: D301
    environment = read_environment()
    with open_reviewing(environment) as reviewing:
        row = reviewing.claim(reviewer, lease, chosen, second=second)
    if row is None:
        if as_json:
            print_json({"item": None})
        else:
            click.echo("nothing to review")
        raise click.exceptions.Exit(1)
    # A second opinion is independent only if the first one is hidden.
    row = row.unseen()
    if as_json:
        print_json({"item": row.to_document()})
    else:
        click.echo(in_full(row))
    _save(environment, row.item, clip)


@review.command("decide", cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings))
@click.argument("item_id", metavar="ITEM")
@click.argument("answer", type=click.Choice(ANSWERS))
@reviewer_option
@click.option("--note", type=TEXT, help="A note to keep with the decision.")
@click.option(
    "--word",
    "words",
    type=ParsedType("word", _parse_word),
    multiple=True,
    metavar="NUMBER=RIGHT",
    help="Correct the word with this number; can be given several times.",
)
@as_json_option
def decide_command(
    item_id: str,
    answer: Answer,
    reviewer: str,
    note: str | None,
    words: Sequence[tuple[int, str]],
    *,
    as_json: bool,
) -> None:
    """Decide whether the finding of ITEM is right.

    \b
              uphold                     reject
    flagged   it violates the policy     it does not
    doubtful  the words are wrong        they are right
    sample    nothing in it violates     something does

    The third answer is "unsure". Deciding again adds a decision: your latest one
    counts, and none is ever overwritten. `--word 7=` removes word 7.

    \b
    Examples:
      dropscribe review decide ITEM reject --note 'it is a quotation'
      dropscribe review decide ITEM uphold --word 3=harbour --word 7=
    """  # noqa: D301
    environment = read_environment()
    if len({number for number, _ in words}) < len(words):
        raise click.UsageError("--word corrects the same word twice")
    with open_reviewing(environment) as reviewing:
        desk = Desk(make_store(environment), reviewing, utc_now)
        decision = desk.decide(item_id, answer, reviewer=reviewer, note=note, words=dict(words))
    if as_json:
        print_json({"item_id": item_id, **decision.to_document(), "key": decision.key})
    else:
        click.echo(f"{answer}  {item_id}  {decision.key}")


@review.command("export", cls=SettingsCommand, settings=(DatabaseSettings,))
@of_batch_option
@click.option(
    "--format",
    "form",
    type=click.Choice(EXPORT_FORMATS),
    default="csv",
    show_default=True,
    help="CSV has a line for each decision, JSON Lines one for each item.",
)
@click.option(
    "--out", type=NEW_FILE, metavar="FILE", help="Write to FILE; default: standard output."
)
def export_command(batch: BatchId | None, form: ExportFormat, out: Path | None) -> None:
    """Export all items with their decisions, for other programs.

    In CSV, text that a spreadsheet would run as a formula (it begins with = + - or
    @) gets an apostrophe in front. JSON Lines are exact.

    \b
    Examples:
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
@of_batch_option
@as_json_option
def figures_command(batch: BatchId | None, *, as_json: bool) -> None:
    """Show how often findings are right, and how far reviewers agree.

    Precision is upheld items as a share of upheld and rejected ones, for each policy
    and version. The miss rate is the share of sampled windows, drawn from recordings
    that no policy flags, in which something violates a policy. Each reviewer's latest
    decision counts; an item on which reviewers disagree counts as disputed only.

    \b
    Examples:
      dropscribe review figures --batch 20250622-143052-a1b2c3
    """  # noqa: D301
    with open_reviewing(read_environment()) as reviewing, waiting_for("counting"):
        found = review_statistics(reviewing.all(batch))
    if as_json:
        print_json(found.to_document())
    else:
        click.echo(figures_in_full(found))


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
