"""Transcripts are written under a folder, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.database.rows import Recording
from consumers.documents.transcript import Segment, Transcript, TranscriptFormat
from consumers.errors import PermanentError
from events.keys import AudioId, BatchId
from ops.cli.transcript_folder import TranscriptFolder, safe_parts

BATCH = BatchId("20250622-143052-a1b2c3")
FORMATS: tuple[TranscriptFormat, ...] = ("json", "srt", "vtt", "txt")


def recording(path: str, ordinal: int = 0) -> Recording:
    return Recording(AudioId(BATCH, ordinal), "transcribed", path)


TRANSCRIPT = Transcript(
    audio_id=str(AudioId(BATCH, 0)),
    state="transcribed",
    reason=None,
    duration=1.0,
    language="en",
    language_probability=None,
    model="tiny.en",
    alignment=None,
    segments=(Segment(0.0, 1.0, "Hello there.", None, ()),),
)


def written(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_each_recording_gets_a_file_per_format_under_its_path(tmp_path: Path) -> None:
    folder = TranscriptFolder(tmp_path, FORMATS)
    folder.write(recording("calls/a.mp3"), TRANSCRIPT)
    assert written(tmp_path) == {f"calls/a.mp3.{form}" for form in FORMATS}
    assert (tmp_path / "calls/a.mp3.txt").read_text() == "Hello there.\n"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../etc/passwd",
        "a/../../../etc/passwd",
        "..",
        "",
        "/",
        ".",
        "...",
        "\\\\host\\share\\x.wav",
        "C:\\x.wav",
        "a/" * 2000 + "x.wav",
        "ü" * 300 + ".wav",
        "a\x00b.wav",
        ".\x00./.\x00./.\x00./x.wav",
        "\x00",
    ],
)
def test_no_path_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    root = tmp_path / "a" / "b" / "out"
    paths = TranscriptFolder(root, FORMATS).write(recording(path), TRANSCRIPT)
    assert len(paths) == len(FORMATS)
    assert all(each.resolve().is_relative_to(root.resolve()) for each in paths)
    outside = {each for each in tmp_path.rglob("*") if each.is_file() and root not in each.parents}
    assert outside == set()


@given(st.text() | st.text("./\\\x00a"))
def test_parts_are_always_names_within_a_folder(path: str) -> None:
    parts = safe_parts(path)
    assert parts
    assert all(part not in {"", ".", ".."} and "/" not in part for part in parts)
    assert all(len(part.encode(errors="replace")) <= 200 for part in parts)


def test_two_recordings_of_one_name_get_files_of_their_own(tmp_path: Path) -> None:
    folder = TranscriptFolder(tmp_path, ("txt",))
    for ordinal in range(3):
        folder.write(recording("a.wav", ordinal), TRANSCRIPT)
    assert written(tmp_path) == {"a.wav.txt", "0000001-a.wav.txt", "0000002-a.wav.txt"}


def test_a_file_in_the_way_of_a_folder_costs_nothing(tmp_path: Path) -> None:
    folder = TranscriptFolder(tmp_path, ("txt",))
    folder.write(recording("a"), TRANSCRIPT)
    folder.write(recording("a.txt/b.wav", 1), TRANSCRIPT)
    assert written(tmp_path) == {"a.txt", "0000001-b.wav.txt"}


def test_a_link_in_the_folder_is_not_followed_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    folder = TranscriptFolder(tmp_path / "out", ("txt",))
    (path,) = folder.write(recording("link/deep/a.wav"), TRANSCRIPT)
    assert path == tmp_path / "out" / "0000000-a.wav.txt"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "paths",
    [
        ["x.wav.txt/y.wav", "x.wav"],
        ["x.wav", "x.wav.txt/y.wav"],
        ["0000002-a.wav", "a.wav", "a.wav"],
        ["a.wav", "A.wav", "a.wav", "./a.wav", "/a.wav"],
    ],
)
def test_no_set_of_names_makes_one_recording_write_over_another(
    tmp_path: Path, paths: list[str]
) -> None:
    folder = TranscriptFolder(tmp_path, ("txt",))
    for ordinal, path in enumerate(paths):
        folder.write(recording(path, ordinal), TRANSCRIPT)
    assert len(written(tmp_path)) == len(paths)


def test_an_impossible_folder_is_reported_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PermanentError, match="Not a directory"):
        TranscriptFolder(tmp_path / "file" / "out", ("txt",)).make()


def test_a_second_run_writes_the_same_files(tmp_path: Path) -> None:
    for _ in range(2):
        TranscriptFolder(tmp_path, ("txt",)).write(recording("a.wav"), TRANSCRIPT)
    assert written(tmp_path) == {"a.wav.txt"}
