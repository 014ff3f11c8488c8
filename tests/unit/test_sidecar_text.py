"""The content of small texts beside recordings."""

from __future__ import annotations

import codecs
import io

import pytest

from consumers.stages.sidecar_text import LONGEST, SidecarTexts


def read(name: str, data: bytes, texts: SidecarTexts | None = None) -> tuple[str | None, str]:
    return (texts or SidecarTexts()).read(name, io.BytesIO(data), len(data))


@pytest.mark.parametrize("name", ["a.txt", "b/a.wav.JSON", "a.wav.txt", "a.xml", "a.srt"])
def test_texts_are_kept_as_they_are(name: str) -> None:
    assert read(name, '{"place": "Zürich \x1b[2J"}'.encode()) == ('{"place": "Zürich \x1b[2J"}', "")


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + b"caf\xc3\xa9",
        codecs.BOM_UTF16_LE + "café".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "café".encode("utf-16-be"),
    ],
)
def test_byte_order_marks_are_left_out(data: bytes) -> None:
    assert read("a.txt", data) == ("café", "")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"caf\xe9", "neither UTF-8 nor UTF-16"),
        (codecs.BOM_UTF16_LE + b"a\x00b", "neither UTF-8 nor UTF-16"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8a\x00", "neither UTF-8 nor UTF-16"),
        (b"a" * (LONGEST + 1), "more than 64 KiB"),
    ],
)
def test_what_is_not_kept_is_said(data: bytes, why: str) -> None:
    text, reason = read("a.txt", data)
    assert text is None
    assert reason.startswith(why)


@pytest.mark.parametrize("name", ["a.py", "a", ".txt/a"])
def test_other_texts_are_no_sidecars(name: str) -> None:
    assert read(name, b"hello") == (None, "")


def test_an_archives_texts_are_limited_together() -> None:
    texts = SidecarTexts(most=LONGEST + 10)
    assert read("a.txt", b"a" * LONGEST, texts)[0] is not None
    text, why = read("b.txt", b"b" * 11, texts)
    assert (text, why) == (None, "its content is not kept, as the archive has too many texts")
    assert read("c.txt", b"c" * 10, texts) == ("c" * 10, "")
