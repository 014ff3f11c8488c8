"""Names are shown so that they can do no harm, and those that lead elsewhere are refused."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.archive.names import path_notes, path_refusal, shown_path
from consumers.documents.note import Note, NoteCode
from tests.harness.samples.archives import (
    entry,
    only_member,
    pax_record,
    raw_entry,
    tar_of,
    zip_entry,
    zip_of_entries,
)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"calls/a.wav", "calls/a.wav"),
        ("Zoë 日本 🎤.wav".encode(), "Zoë 日本 🎤.wav"),
        (b"M\x81ller.wav", r"M\x81ller.wav"),
        (b"a\x00b\nc\x1b[2J.wav", r"a\x00b\x0ac\x1b[2J.wav"),
        ("a\u202egpj.wav".encode(), r"a\xe2\x80\xaegpj.wav"),
        (b"\xed\xa0\x80.wav", r"\xed\xa0\x80.wav"),
    ],
)
def test_a_name_is_shown_without_deceptive_characters(raw: bytes, shown: str) -> None:
    assert shown_path(raw) == shown


@given(st.binary())
def test_every_shown_name_can_be_stored(raw: bytes) -> None:
    shown = shown_path(raw)

    assert not any(ord(character) < 32 or character == "\x7f" for character in shown)
    assert shown.encode("utf-8").decode("utf-8") == shown


@pytest.mark.parametrize("path", ["/etc/passwd", "C:\\a.wav", "c:/a.wav", "\\\\host\\a.wav", "\\a"])
def test_absolute_paths_are_refused(path: str) -> None:
    assert path_refusal(path.encode()) == "has an absolute path"


@pytest.mark.parametrize("path", ["../a.wav", "a/../../b", "a/..", "..", "a\\..\\b.wav"])
def test_paths_that_lead_out_are_refused(path: str) -> None:
    assert "'..'" in str(path_refusal(path.encode()))


@pytest.mark.parametrize("path", ["a..b/c.wav", "...", "./a.wav", "12:30 call.wav", "A: intro.wav"])
def test_paths_that_only_look_odd_are_read(path: str) -> None:
    assert path_refusal(path.encode()) is None


def texts(notes: Iterable[Note]) -> list[str]:
    return [note.text for note in notes]


def test_notes_name_the_oddities_of_a_name() -> None:
    assert path_notes(b"a.wav") == ()
    assert path_notes(b"") == (Note(NoteCode.NAME, "its name is empty"),)
    assert texts(path_notes(b"\xff.wav")) == ["its name is not UTF-8"]
    assert texts(path_notes(b"n" * 256)) == ["its name is 256 characters long"]
    assert path_notes("ü".encode() * 255) == ()


@pytest.mark.parametrize("name", ["/a.wav", "../a.wav", "calls/../../a.wav"])
def test_hostile_paths_are_refused_in_archives(name: str) -> None:
    for archive in (tar_of({name: b"x"}), zip_of_entries([(zip_entry(name), b"x")])):
        member = only_member(archive)
        assert member.refusal is not None
        assert member.path == name


def test_a_name_that_is_not_utf8_is_read_with_a_note_from_tar() -> None:
    archive = raw_entry(entry("M\udc81ller.wav", size=5), b"sound") + bytes(1024)

    member = only_member(archive)

    assert (member.path, member.refusal) == (r"M\x81ller.wav", None)
    assert texts(member.notes) == ["its name is not UTF-8"]


def test_a_name_that_is_not_utf8_is_read_with_a_note_from_zip() -> None:
    # 0x81 is the ü of code page 437, which zip means where it marks nothing.
    archive = zip_of_entries([(zip_entry("M?ller.wav"), b"sound")])

    member = only_member(archive.replace(b"M?ller", b"M\x81ller"))

    assert member.path == r"M\x81ller.wav"
    assert texts(member.notes) == ["its name is not UTF-8"]


def test_a_utf8_name_that_zip_does_not_mark_is_shown_as_meant() -> None:
    archive = zip_of_entries([(zip_entry("Zo??.wav"), b"sound")])

    assert only_member(archive.replace(b"Zo??", "Zoë".encode())).path == "Zoë.wav"


def test_pax_names_win_over_all_others() -> None:
    records = pax_record(b"path", b"from pax.wav")
    archive = (
        raw_entry(entry("x", tarfile.XHDTYPE, size=len(records)), records)
        + raw_entry(entry("x", tarfile.GNUTYPE_LONGNAME, size=9), b"from gnu\x00")
        + raw_entry(entry("from block"))
    )

    assert only_member(archive).path == "from pax.wav"


def test_a_name_with_nul_in_a_zip_is_shown_whole() -> None:
    archive = zip_of_entries([(zip_entry("a.wav?.exe"), b"")], zipfile.ZIP_STORED)

    assert only_member(archive.replace(b"a.wav?", b"a.wav\x00")).path == r"a.wav\x00.exe"
