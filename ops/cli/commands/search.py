"""``dropscribe search``: find what was said."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.cli.render.progress import print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.wiring.adapters import open_database
from ops.wiring.settings import DatabaseSettings


@click.command(cls=SettingsCommand, settings=(DatabaseSettings,))
@click.argument("text")
@click.option("--limit", default=20, show_default=True, help="How many to show at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def search(context: click.Context, text: str, limit: int, *, as_json: bool) -> None:
    """Find TEXT in all transcripts, best first.

    All words have to be there, in any order; "in quotes" they stand together;
    "or" takes either, and a minus sign in front of a word excludes it. The exit
    code is 1 where nothing is found.

    \b
      dropscribe search 'harbour "north wind" -test'
    """  # noqa: D301
    with open_database(read_environment()) as database:
        hits = database.search(text, limit)
    if as_json:
        print_json(
            {
                "hits": [
                    {
                        "audio_id": str(hit.audio),
                        "path": hit.path,
                        "language": hit.language,
                        "passage": hit.passage,
                    }
                    for hit in hits
                ]
            }
        )
    else:
        table = Table(show_edge=False, pad_edge=False)
        for heading in ("recording", "path", "passage"):
            table.add_column(heading, overflow="fold")
        for hit in hits:
            table.add_row(str(hit.audio), Text(hit.path), Text(hit.passage))
        Console().print(table)
    if not hits:
        context.exit(1)
