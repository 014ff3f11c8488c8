"""``dropscribe search``: find what was said."""

from __future__ import annotations

import click
from rich.console import Console
from rich.text import Text

from ops.cli.options import as_json_option
from ops.cli.output import make_table, print_json, printable
from ops.cli.settings import SettingsCommand, read_environment
from ops.wiring.adapters import open_database
from ops.wiring.settings import DatabaseSettings


@click.command(cls=SettingsCommand, settings=(DatabaseSettings,))
@click.argument("text")
@click.option("--limit", default=20, show_default=True, help="Maximum number to show.")
@as_json_option
def search(text: str, limit: int, *, as_json: bool) -> None:
    """Search transcripts, and what is known of recordings, for TEXT, best matches first.

    Known are the tags of a recording, such as title, artist, date, device and chapters, and the
    texts beside it, such as a.txt, a.json or a.wav.json beside a.wav.

    A match holds all words, in any order. "Quoted words" have to stand together,
    `or` accepts either side, and a minus sign excludes the word after it. The exit
    code is 1 if nothing matches.

    \b
    Examples:
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
        table = make_table("recording", "path", "passage")
        for hit in hits:
            table.add_row(str(hit.audio), Text(hit.path), Text(printable(hit.passage)))
        Console().print(table)
    if not hits:
        raise click.exceptions.Exit(1)
