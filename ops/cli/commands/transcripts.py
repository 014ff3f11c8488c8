"""``dropscribe transcripts``: a batch's transcripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from consumers.database.rows import Recording
from consumers.documents.transcript import Transcript, TranscriptFormat, render
from events.keys import BatchId
from ops.cli.options import BATCH, FOLDER, as_json_option
from ops.cli.output import print_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.cli.transcript_folder import TranscriptFolder, read_transcripts
from ops.wiring.adapters import make_store, open_database
from ops.wiring.settings import DatabaseSettings, StoreSettings


@click.command(cls=SettingsCommand, settings=(StoreSettings, DatabaseSettings))
@click.argument("batch", type=BATCH)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "srt", "vtt", "txt"]),
    default="txt",
    show_default=True,
    help="JSON with word times, subtitles, or plain text.",
)
@click.option("--out", type=FOLDER, help="Write a file for each recording into this folder.")
@as_json_option
def transcripts(batch: BatchId, form: TranscriptFormat, out: Path | None, *, as_json: bool) -> None:
    """Print the transcripts of BATCH, or write them into a folder.

    With --format json each transcript is one line, exactly as it is stored; with
    --json the output is one object that holds all of them.

    \b
    Examples:
      dropscribe transcripts 20250622-143052-a1b2c3
      dropscribe transcripts 20250622-143052-a1b2c3 --format srt --out subtitles/
    """  # noqa: D301
    environment = read_environment()
    with open_database(environment) as database:
        if database.batch(batch) is None:
            raise click.ClickException(f"there is no batch {batch}")
        recordings = database.recordings(batch)
    found = read_transcripts(make_store(environment), recordings)
    if out is not None:
        _write(found, out, form)
    elif as_json:
        print_json({"batch_id": str(batch), "transcripts": [_as_json(*each) for each in found]})
    else:
        _print(found, form)


_Found = Iterator[tuple[Recording, Transcript]]


def _write(found: _Found, out: Path, form: TranscriptFormat) -> None:
    folder = TranscriptFolder(out, (form,))
    folder.make()
    written = sum(len(folder.write(*each)) for each in found)
    click.echo(f"{written} files in {out}", err=True)


def _print(found: _Found, form: TranscriptFormat) -> None:
    for recording, transcript in found:
        heading = "" if form == "json" else f"# {recording.path}\n"
        click.echo(heading + render(transcript, form), nl=form != "json")


def _as_json(recording: Recording, transcript: Transcript) -> dict[str, object]:
    return {"path": recording.path, **json.loads(transcript.to_json())}
