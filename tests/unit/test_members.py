"""Members and notes as people see them: hostile names and tags are data."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from consumers.database.rows import Recording
from consumers.documents.manifest import ManifestEntry
from consumers.documents.note import Note, NoteCode
from events.keys import AudioId, BatchId
from ops.cli.render.batches import recordings_table
from ops.cli.render.members import member_as_json, members_table, write_members
from ops.cli.render.notes import notes_as_lines

BATCH = BatchId("20250622-143052-a1b2c3")
ENTRIES = (
    ManifestEntry(
        0,
        "=cmd|' /C calc'!A0.wav",
        9,
        "accepted",
        notes=(Note(NoteCode.BREAKS_OFF, "breaks off at 4.7 of 11.0 s", 4.7, 11.0),),
        tags={"title": "\x1b[2J\x1b[31mred\r\n", "=a": "b"},
    ),
    ManifestEntry(1, "cover.jpg", 7, "ignored", "JPEG"),
    ManifestEntry(2, "[bold]bad.mp3", 0, "rejected", "it is empty"),
)


def written() -> list[dict[str, str]]:
    file = io.StringIO()
    assert write_members(BATCH, ENTRIES, file) == 3
    return list(csv.DictReader(io.StringIO(file.getvalue())))


def test_a_spreadsheet_executes_no_cell() -> None:
    first, *_ = written()
    assert first["path"] == "'=cmd|' /C calc'!A0.wav"
    assert not any(cell.startswith("=") for row in written() for cell in row.values())


def test_every_member_is_listed_with_why_and_notes() -> None:
    first, second, third = written()
    assert first["notes"] == "0:00:04.7 to 0:00:11.0: breaks off at 4.7 of 11.0 s"
    assert (second["outcome"], second["reason"], second["audio_id"]) == ("ignored", "JPEG", "")
    assert (third["reason"], third["audio_id"]) == ("it is empty", f"{BATCH}-0000002")


def test_control_characters_of_tags_are_stripped() -> None:
    assert written()[0]["tags"].isprintable()
    assert member_as_json(BATCH, ENTRIES[0])["tags"]["title"] == "\x1b[2J\x1b[31mred\r\n"


def test_the_table_shows_markup_as_it_is() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(members_table(ENTRIES))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[bold]bad.mp3" in shown
    assert "missing: 0:00:04.7 to 0:00:11.0: breaks off" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("number", [5, 7])
def test_losses_come_first_and_many_notes_are_counted(number: int) -> None:
    notes = [Note(NoteCode.NAME, f"note {n}") for n in range(number - 1)]
    lines = notes_as_lines([*notes, Note(NoteCode.DAMAGED, "damage", 1.0)])
    assert lines[0] == "missing: 0:00:01.0: damage"
    assert lines[-1] == ("note: note 3" if number == 5 else "and 2 more notes")


UNTIMED = Note(NoteCode.NO_WORD_TIMES, "segment times only")
LOST = Note(NoteCode.BREAKS_OFF, "it breaks off")


def recordings_shown(*notes: tuple[Note, ...]) -> str:
    """Lay out transcribed recordings with these notes, and one that was rejected."""
    transcribed = [
        Recording(AudioId(BATCH, number), "transcribed", f"{number}.wav", text="words", notes=each)
        for number, each in enumerate(notes)
    ]
    rejected = Recording(AudioId(BATCH, len(notes)), "rejected", "bad.wav", "no audio stream")
    console = Console(width=100, file=io.StringIO())
    with console.capture() as shown:
        console.print(recordings_table([*transcribed, rejected]))
    return shown.get()


def test_a_note_that_all_transcripts_have_is_shown_once() -> None:
    text = recordings_shown((UNTIMED,), (UNTIMED, LOST))
    assert text.count("segment times only") == 1
    assert "note on all transcripts: segment times only" in text
    assert text.count("missing: it breaks off") == 1


@pytest.mark.parametrize(
    "notes", [((UNTIMED,),), ((UNTIMED,), ()), ((LOST,), (LOST,))], ids=["one", "some", "a loss"]
)
def test_other_notes_stay_with_their_recordings(notes: tuple[tuple[Note, ...], ...]) -> None:
    text = recordings_shown(*notes)
    assert "note on all" not in text
    assert text.count("segment times only") + text.count("it breaks off") == sum(map(len, notes))
