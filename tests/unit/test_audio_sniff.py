"""What a file is said to be, by its content alone."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.audio.signatures import DEMUXERS
from consumers.audio.sniff import Sniffed, sniff
from tests.harness.samples.sounds import Recipe, amr, dsf, id3, made, voice, wav

MP3 = made(Recipe("mp3", "libmp3lame"))
FLAC = made(Recipe("flac", "flac"))
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nhttp://169.254.169.254/latest/\n"
LAYER_1 = (b"\xff\xff\x10\x00" + bytes(28)) * 4
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100)

# Demuxers that open what a file refers to, or a device, or what is no file.
DANGEROUS = {"concat", "dash", "data", "hls", "image2", "lavfi", "rtp", "rtsp", "sap", "sdp", "tee"}


def sniffed(media: bytes) -> Sniffed:
    return sniff(io.BytesIO(media))


@pytest.mark.parametrize(
    ("media", "demuxer", "label"),
    [
        (wav(voice()), "wav", "a WAV file"),
        (made(Recipe("wav", "pcm_s16le", options={"rf64": "always"})), "wav", "a WAV file (RF64)"),
        (MP3, "mp3", "an MP3 file"),
        (MP3[500:], "mp3", "an MP3 file"),
        (id3(200_000) + MP3, "mp3", "an MP3 file"),
        (id3(200_000) + FLAC, "flac", "a FLAC file"),
        (id3(100) + bytes(5000), "mp3", "an MP3 file"),
        (id3(100) + JPEG, "mp3", "an MP3 file"),
        (made(Recipe("mp2", "mp2", 48_000)), "mp3", "an MPEG audio file"),
        (made(Recipe("ipod", "aac")), "mov", "an M4A file"),
        (made(Recipe("mov", "pcm_s16be")), "mov", "a QuickTime file"),
        (made(Recipe("adts", "aac")), "aac", "an AAC file"),
        (made(Recipe("ac3", "ac3", 48_000)), "ac3", "an AC-3 file"),
        (made(Recipe("ac3", "ac3", 44_100)), "ac3", "an AC-3 file"),
        (made(Recipe("eac3", "eac3", 48_000)), "eac3", "an E-AC-3 file"),
        (made(Recipe("mpegts", "aac", 48_000)), "mpegts", "an MPEG transport stream"),
        (amr(), "amr", "an AMR file"),
        (dsf(), "dsf", "a DSF file"),
        (b"\x1f\x07\x00\xbf" + bytes(76) + LAYER_1, "dv", "a DV file"),
        (LAYER_1, "mp3", "an MPEG audio file"),
    ],
)
def test_sound_is_recognised(media: bytes, demuxer: str, label: str) -> None:
    assert sniffed(media) == Sniffed("audio", demuxer, label)


@pytest.mark.parametrize(
    ("media", "kind", "label"),
    [
        (b"", "empty", "an empty file"),
        (PLAYLIST, "text", "text"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "text", "text"),
        (b"[playlist]\nFile1=http://example.org/\n", "text", "text"),
        ("Größe: 3 Ω".encode(), "text", "text"),
        ("Größe: 3 Ω".encode("utf-16"), "text", "text"),
        ("Ein Gruß aus Köln, in alter Kodierung.".encode("latin-1"), "text", "text"),
        (b"x" + "ä".encode() * 40_000, "text", "text"),
        (b"MAC addresses of the recorders\n", "text", "text"),
        (b"I'm free to talk on Monday\n", "text", "text"),
        (JPEG, "image", "a JPEG image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "image", "a PNG image"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(50), "image", "a HEIC image"),
        (b"%PDF-1.7\n" + bytes(50), "document", "a PDF document"),
        (b"SQLite format 3\0" + bytes(100), "document", "an SQLite database"),
        (
            b"SQLite format 3\0" + bytes(52) + b"AUDY" + bytes(100),
            "undecodable",
            "an Audacity project, which FFmpeg cannot read: export its sound",
        ),
        (
            b"RIFX\0\0\0\x24WAVEfmt " + bytes(50),
            "undecodable",
            "a big-endian WAV file (RIFX), for which FFmpeg has no decoder",
        ),
        (b"MThd\x00\x00\x00\x06\x00\x01", "document", "a MIDI file (notes, not sound)"),
        (b"PK\x03\x04" + bytes(50), "archive", "a zip archive"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "metadata", "macOS metadata"),
        (bytes(5000), "unknown", "a file of an unknown kind"),
        (b"\xff\xfb\x90\x64" + bytes(5000), "unknown", "a file of an unknown kind"),
        (bytes(80) + LAYER_1 + bytes(80), "unknown", "a file of an unknown kind"),
    ],
)
def test_everything_else_is_named_by_its_kind(media: bytes, kind: str, label: str) -> None:
    found = sniffed(media)
    assert (found.kind, found.demuxer, found.label) == (kind, None, label)


def test_no_demuxer_that_follows_references_can_be_chosen() -> None:
    assert not DEMUXERS & DANGEROUS


def test_a_file_is_left_at_its_start() -> None:
    file = io.BytesIO(id3(1000) + MP3)
    file.seek(77)
    sniff(file)
    assert file.tell() == 0


@given(st.binary(max_size=3000))
@example(b"ID3\x04\x00\x10\x7f\x7f\x7f\x7f")
@example(b"ID3")
@example(b"\xff\xfe\x00")
@example(b"\x0b\x77")
def test_any_bytes_are_something(media: bytes) -> None:
    found = sniffed(media)
    assert found.label
    assert (found.kind == "audio") == (found.demuxer is not None)
    assert found.demuxer is None or found.demuxer in DEMUXERS


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
def test_words_are_never_sound(words: str) -> None:
    assert sniffed(words.encode()).kind != "audio"
