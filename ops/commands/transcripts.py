"""``dropscribe transcripts``: a batch's transcripts."""

from __future__ import annotations

import os
from pathlib import Path

import click

from consumers.transcript import Format, render
from events.keys import BatchId
from ops.commands.parameters import BATCH
from ops.composition import make_store, open_database
from ops.environment import Environment
from ops.results import TranscriptFolder, read_transcripts


@click.command()
@click.argument("batch", type=BATCH)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "srt", "vtt", "txt"]),
    default="txt",
    show_default=True,
    help="As what: JSON with word times, subtitles, or plain text.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a file per recording under this folder rather than print.",
)
def transcripts(batch: BatchId, form: Format, out: Path | None) -> None:
    """Print the transcripts of BATCH, or write them into a folder.

    With --format json each recording is one line.

    Settings: DATABASE_URL, S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY, S3_BUCKET.
    """
    environment = Environment(os.environ)
    with open_database(environment) as database:
        if database.batch(batch) is None:
            raise click.ClickException(f"there is no batch {batch}")
        recordings = database.recordings(batch)
    folder = TranscriptFolder(out, (form,)) if out is not None else None
    written = 0
    for recording, transcript in read_transcripts(make_store(environment), recordings):
        if folder is not None:
            written += len(folder.write(recording, transcript))
            continue
        if form == "json":
            click.echo(render(transcript, form), nl=False)
        else:
            click.echo(f"# {recording.path}\n{render(transcript, form)}")
    if folder is not None:
        click.echo(f"{written} files in {out}", err=True)
