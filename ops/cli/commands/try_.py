"""``dropscribe try``: the main job on one machine, without any setup."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
from rich.console import Console
from rich.text import Text

from consumers.database.rows import Recording
from consumers.errors import PermanentError
from consumers.store import Store
from ops.cli.batch_progress import BatchProgress, follow_batch
from ops.cli.member_list import MEMBERS_FILE, save_members
from ops.cli.options import FILE, FOLDER, as_json_option
from ops.cli.output import counted, print_error, print_json, waiting_for
from ops.cli.render.batches import (
    batch_bar,
    progress_as_json,
    recording_as_json,
    recordings_table,
    upload_bar,
)
from ops.cli.render.notes import notes_as_lines
from ops.cli.settings import SettingsCommand
from ops.cli.transcript_folder import TranscriptFolder, read_transcripts
from ops.embedded.stack import STACK_SETTINGS, EmbeddedStack, run_stack
from ops.ingest.drop import drop_archive
from ops.wiring.adapters import make_store, open_database, utc_now


@click.command("try", cls=SettingsCommand, settings=STACK_SETTINGS)
@click.argument("archive", required=False, type=FILE)
@click.option(
    "--out",
    type=FOLDER,
    help="Write each transcript (.json .srt .vtt .txt), and a list of the archive's members "
    f"({MEMBERS_FILE}), into this folder.",
)
@as_json_option
def try_(archive: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Transcribe ARCHIVE on this machine, without any setup.

    Starts the whole pipeline on this machine (an object store, a queue, a database
    and the consumers), drops ARCHIVE into it, waits for the last recording, prints
    the transcripts, and removes everything again. An ARCHIVE is a tar, tar.gz,
    tar.bz2, tar.xz, tar.zst or zip of sound recordings. Without ARCHIVE it uses a
    small sample.

    Whisper tiny.en (English) transcribes, unless WHISPER_MODEL names another model.
    To moderate the transcripts, set POLICIES_ROOT to a folder of content policies,
    and POLICY_MODEL or POLICY_ENDPOINT to a model, which dropscribe does not include.

    \b
    Examples:
      dropscribe try
      dropscribe try interviews.zip --out transcripts/
      WHISPER_MODEL=large-v3 dropscribe try radio.tar.gz --json
    """  # noqa: D301
    signal.signal(signal.SIGTERM, _end_by_sigterm)
    folder = TranscriptFolder(out, ("json", "srt", "vtt", "txt")) if out is not None else None
    if folder is not None:
        folder.make()
    with as_file(files("ops") / "sample" / "sample.tar") as sample:
        progress, recordings, unwritten = _run(archive or sample, folder)
    if as_json:
        print_json(
            {
                **progress_as_json(progress),
                "recordings": [recording_as_json(recording) for recording in recordings],
            }
        )
    else:
        _show(progress, recordings, out)
    if unwritten is not None:
        print_error(unwritten)
    if progress.state != "complete" or unwritten is not None:
        raise click.exceptions.Exit(1)


_Result = tuple[BatchProgress, list[Recording], PermanentError | None]


def _run(archive: Path, folder: TranscriptFolder | None) -> _Result:
    with ExitStack() as running:
        with waiting_for("starting the embedded stack"):
            stack = running.enter_context(run_stack(os.environ))
        return _drop_and_wait(stack, archive, folder)


def _drop_and_wait(stack: EmbeddedStack, archive: Path, folder: TranscriptFolder | None) -> _Result:
    store = make_store(stack.environment)
    with upload_bar(archive.name, archive.stat().st_size) as sent:
        batch = drop_archive(store, archive, now=utc_now(), host=socket.gethostname(), advance=sent)
    with open_database(stack.environment) as database:
        with batch_bar() as show:

            def look(progress: BatchProgress) -> None:
                show(progress)
                stack.check()

            progress = follow_batch(database, batch, look)
        recordings = database.recordings(batch)
    if folder is None:
        return progress, recordings, None
    return progress, recordings, _write(store, progress, recordings, folder)


def _write(
    store: Store, progress: BatchProgress, recordings: list[Recording], folder: TranscriptFolder
) -> PermanentError | None:
    """Write members and transcripts; a failure is returned, so that they are still printed."""
    try:
        if progress.row is not None and progress.row.sealed_at is not None:
            save_members(store, progress.batch, folder.root)
        for recording, transcript in read_transcripts(store, recordings):
            folder.write(recording, transcript)
    except PermanentError as exc:
        return exc
    return None


def _show(progress: BatchProgress, recordings: list[Recording], out: Path | None) -> None:
    console = Console()
    console.print(recordings_table(recordings))
    counts = ", ".join(f"{number} {state}" for state, number in sorted(progress.counts.items()))
    ignored = progress.row.ignored if progress.row else 0
    console.print(
        Text(
            f"\nbatch {progress.batch} is {progress.state}: {counts or 'no recordings'}"
            + (f", {counted(ignored, 'other file')} ignored" if ignored else "")
        )
    )
    if progress.row and (reason := progress.row.failure or progress.row.stalled):
        console.print(Text(reason))
    for line in notes_as_lines(progress.row.notes) if progress.row else ():
        console.print(Text(line))
    if progress.row and not progress.row.is_moderated:
        console.print(Text("not moderated, as POLICIES_ROOT is not set"))
    elif progress.row:
        flagged = sum(recording.flagged is True for recording in recordings)
        console.print(Text(f"{flagged} of them flagged by a content policy"))
    if out is not None:
        console.print(Text(f"transcripts are in {out}"))


def _end_by_sigterm(signum: int, frame: FrameType | None) -> NoReturn:
    """Unwind as Ctrl-C does, so that no process of the stack is left behind."""
    del frame
    raise SystemExit(128 + signum)
