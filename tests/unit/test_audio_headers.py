"""Sound is read to its end, whatever a header claims, and whatever was joined to the file."""

from __future__ import annotations

import struct

import pytest

from consumers.audio.media import Transcoded
from consumers.documents.note import NoteCode
from tests.harness.samples.sounds import (
    LEVEL_DBFS,
    Recipe,
    amr,
    chunk,
    dbfs,
    decoded,
    id3,
    made,
    transcoded_here,
    voice,
    wav,
)

SECONDS = 3.0
CLAIMED = 1.0
TAGS = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"A title"))


def sound(rate: int = 16_000) -> bytes:
    return wav(voice(SECONDS, rate), rate)


def claiming(media: bytes, name: bytes, size: int, form: str) -> bytes:
    """Replace the size that a chunk claims to have."""
    at = media.index(name) + len(name)
    return media[:at] + struct.pack(form, size) + media[at + struct.calcsize(form) :]


def codes(facts: Transcoded) -> set[NoteCode]:
    return {note.code for note in facts.notes}


def note(facts: Transcoded, code: NoteCode) -> str:
    (text,) = (note.text for note in facts.notes if note.code == code)
    return text


AIFF = made(Recipe("aiff", "pcm_s16be", 16_000, "mono"), voice(SECONDS))
W64 = made(Recipe("w64", "pcm_s16le", 16_000, "mono"), voice(SECONDS))
CAF = made(Recipe("caf", "pcm_s16be", 16_000, "mono"), voice(SECONDS))
RF64 = made(Recipe("wav", "pcm_s16le", 16_000, "mono", options={"rf64": "always"}), voice(SECONDS))
# One block of samples of 16 bits, and the end, as recorders write it.
VOC = (
    struct.pack("<20sHHH", b"Creative Voice File\x1a", 26, 0x010A, 0x1129)
    + b"\x09"
    + struct.pack("<I", 12 + round(SECONDS) * 32_000)[:3]
    + struct.pack("<IBBH4x", 16_000, 16, 1, 4)
    + (voice(SECONDS) * 32767).astype("<i2").tobytes()
    + b"\0"
)
BYTES = round(CLAIMED * 32_000)
TOO_SMALL = {
    "wav": claiming(sound(), b"data", BYTES, "<I"),
    "wav, RIFF too": claiming(claiming(sound(), b"data", BYTES, "<I"), b"RIFF", BYTES + 36, "<I"),
    "wav, RF64": RF64[: RF64.index(b"ds64") + 16]
    + struct.pack("<Q", BYTES)
    + RF64[RF64.index(b"ds64") + 24 :],
    "wave64": claiming(W64, W64[W64.index(b"data") :][:16], BYTES + 24, "<Q"),
    "aiff": claiming(AIFF, b"SSND", BYTES + 8, ">I"),
    "caf": claiming(CAF, b"data", BYTES + 4, ">Q"),
}
LONG_SIZES = RF64.index(b"ds64") + 8
UNFINISHED = {
    "wav, 0": claiming(sound(), b"data", 0, "<I"),
    "wav, -1": claiming(sound(), b"data", 0xFFFF_FFFF, "<I"),
    "wav, 0x80000000": claiming(sound(), b"data", 0x8000_0000, "<I"),
    "wav, all zero": claiming(claiming(sound(), b"data", 0, "<I"), b"RIFF", 0, "<I"),
    "wav, RF64, -1": RF64[:LONG_SIZES] + b"\xff" * 16 + RF64[LONG_SIZES + 16 :],
    "wav, RF64, short size": claiming(
        RF64[:LONG_SIZES] + bytes(16) + RF64[LONG_SIZES + 16 :], b"data", len(sound()) - 44, "<I"
    ),
    "wav, RF64, no long size": RF64.replace(b"ds64", b"JUNK"),
    "wave64, 0": claiming(W64, W64[W64.index(b"data") :][:16], 0, "<Q"),
    "wave64, 24": claiming(W64, W64[W64.index(b"data") :][:16], 24, "<Q"),
    "aiff, 0": claiming(AIFF, b"SSND", 0, ">I"),
    "aiff, -1": claiming(AIFF, b"SSND", 0xFFFF_FFFF, ">I"),
    "caf, -1": claiming(CAF, b"data", 2**64 - 1, ">Q"),
}


@pytest.mark.parametrize("media", TOO_SMALL.values(), ids=TOO_SMALL)
def test_sound_behind_the_declared_end_is_read(media: bytes) -> None:
    facts, opus = transcoded_here(media)

    assert facts.duration == pytest.approx(SECONDS, abs=0.01)
    assert dbfs(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.7)
    assert codes(facts) == {NoteCode.LONGER_THAN_DECLARED}
    lengths = "the header says 1.0 s, the file holds 3.0 s, 3.0 s are decoded"
    assert lengths in note(facts, NoteCode.LONGER_THAN_DECLARED)


def chunks(*sizes: int, before: bytes = b"", between: bytes = b"") -> bytes:
    """A WAV file whose sound is in several chunks."""
    whole = wav(voice(SECONDS), before=before)
    start = whole.index(b"data")
    parts = [chunk(b"data", whole[start + 8 :][at : at + size]) for at, size in _spans(sizes)]
    return whole[:start] + between.join(parts)


def _spans(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(sum(sizes[:number]), size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    "media",
    [
        chunks(32_000, 64_000),
        chunks(32_000, 48_000, 16_000, between=TAGS),
        wav(voice(SECONDS), before=b"note\x03\0\0\0abc"),
        wav(voice(SECONDS), before=b"LIST\x0f\0\0\0INFOINAM\x03\0\0\0abc"),
    ],
    ids=["two chunks", "three, with tags between", "an odd chunk", "an odd list"],
)
def test_other_orders_and_paddings_of_chunks_are_understood(media: bytes) -> None:
    facts, opus = transcoded_here(media)

    assert facts.duration == pytest.approx(SECONDS, abs=0.01)
    assert dbfs(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.7)
    assert not facts.notes


@pytest.mark.parametrize("media", UNFINISHED.values(), ids=UNFINISHED)
def test_a_header_from_before_the_end_says_nothing(media: bytes) -> None:
    facts, _ = transcoded_here(media)

    assert facts.duration == pytest.approx(SECONDS, abs=0.01)
    assert not facts.notes


@pytest.mark.parametrize(
    ("media", "declared"),
    [
        (sound(), "3.0"),
        (claiming(sound(), b"data", 90 * 32_000, "<I"), "90.0"),
        (made(Recipe("flac", "flac", 16_000, "mono"), voice(SECONDS)), "3.0"),
        (made(Recipe("matroska", "flac", 16_000, "mono"), voice(SECONDS)), "3.0"),
        (AIFF, "3.0"),
        (W64, "3.0"),
        (CAF, "3.0"),
        (made(Recipe("wav", "adpcm_ms", 16_000, "mono"), voice(SECONDS)), "3.1"),
        (made(Recipe("sox", "pcm_s32le", 16_000, "mono"), voice(SECONDS)), "3.0"),
        (VOC, "3.0"),
    ],
    ids=[
        *("wav", "wav that claims 90 s", "flac", "matroska", "aiff", "wave64", "caf", "adpcm"),
        *("sox", "voc"),
    ],
)
def test_a_file_that_breaks_off_says_so_with_its_lengths(media: bytes, declared: str) -> None:
    facts, _ = transcoded_here(media[: len(media) // 2])

    assert facts.duration == pytest.approx(SECONDS / 2, abs=0.6)
    assert codes(facts) - {NoteCode.DAMAGED} == {NoteCode.BREAKS_OFF}
    assert f"the header says {declared} s" in note(facts, NoteCode.BREAKS_OFF)


@pytest.mark.parametrize(
    "media",
    [
        sound() + TAGS,
        sound()[:-1] + TAGS,
        sound() + bytes(128),
        sound() + b"TAG" + b"x" * 125,
        sound() + bytes(200_000),
        TOO_SMALL["wav"][: 44 + BYTES] + TAGS,
    ],
    ids=["tags", "an odd byte", "zeros", "ID3v1", "many zeros", "tags at the declared end"],
)
def test_other_things_behind_the_sound_are_no_sound(media: bytes) -> None:
    facts, _ = transcoded_here(media)

    assert facts.duration in (pytest.approx(SECONDS, abs=0.01), pytest.approx(CLAIMED, abs=0.01))
    assert not facts.notes


OGG = Recipe("ogg", "libopus", 16_000, "mono")
JOINED = {
    "wav": wav(voice(1)) + wav(voice(2, 8_000), 8_000, channels=2),
    "wav with tags between": wav(voice(1)) + TAGS + wav(voice(2)),
    "wav, unfinished": claiming(wav(voice(1)), b"data", 0, "<I") + wav(voice(2)),
    "flac": made(Recipe("flac", "flac", 16_000, "mono"), voice(1))
    + id3(100)
    + made(Recipe("flac", "flac", 44_100), voice(2, 44_100)),
    "ogg": made(OGG, voice(1)) + made(Recipe("ogg", "flac", 44_100), voice(2, 44_100)),
    "mp3": made(Recipe("mp3", "libmp3lame", 16_000, "mono"), voice(1))
    + id3(50_000)
    + made(Recipe("mp3", "libmp3lame", 44_100), voice(2, 44_100)),
    "aac with a tag between": made(Recipe("adts", "aac"), voice(1, 44_100))
    + id3(50_000)
    + made(Recipe("adts", "aac"), voice(2, 44_100)),
    "mp4": made(Recipe("mp4", "aac", 16_000, "mono"), voice(1))
    + made(Recipe("mp4", "aac", 44_100), voice(2, 44_100)),
    "matroska": made(Recipe("matroska", "flac", 16_000, "mono"), voice(1))
    + made(Recipe("matroska", "flac", 44_100), voice(2, 44_100)),
    "amr": amr(1) + amr(2),
    "wma": made(Recipe("asf", "wmav2", bit_rate=128_000), voice(1, 44_100))
    + made(Recipe("asf", "wmav2", 22_050, bit_rate=64_000), voice(2, 22_050)),
    "flv": made(Recipe("flv", "libmp3lame", 22_050, "mono"), voice(1, 22_050))
    + made(Recipe("flv", "libmp3lame"), voice(2, 44_100)),
    "au": made(Recipe("au", "pcm_s16be", 16_000, "mono"), voice(1))
    + made(Recipe("au", "pcm_mulaw", 8_000, "mono"), voice(2, 8_000)),
    "voc": made(Recipe("voc", "pcm_u8", 16_000, "mono"), voice(1))
    + made(Recipe("voc", "pcm_u8", 22_050, "mono"), voice(2, 22_050)),
    "true audio": made(Recipe("tta", "tta", 16_000, "mono"), voice(1))
    + made(Recipe("tta", "tta"), voice(2, 44_100)),
    "wavpack": made(Recipe("wv", "wavpack", 16_000, "mono"), voice(1))
    + made(Recipe("wv", "wavpack"), voice(2, 44_100)),
    "transport stream": made(Recipe("mpegts", "mp2", 48_000), voice(1, 48_000))
    + made(Recipe("mpegts", "aac", 48_000), voice(2, 48_000)),
    "transport stream, other place": made(Recipe("mpegts", "mp2", 48_000), voice(1, 48_000))
    + made(
        Recipe("mpegts", "mp2", 48_000, options={"mpegts_start_pid": "0x200"}), voice(2, 48_000)
    ),
    "aiff": made(Recipe("aiff", "pcm_s16be", 16_000, "mono"), voice(1))
    + made(Recipe("aiff", "pcm_s16be", 44_100), voice(2, 44_100)),
}


@pytest.mark.parametrize("media", JOINED.values(), ids=JOINED)
def test_files_that_somebody_joined_are_all_read(media: bytes) -> None:
    facts, opus = transcoded_here(media)

    assert facts.duration == pytest.approx(3.0, abs=0.2)
    assert len(decoded(opus)) == pytest.approx(3 * 16_000, abs=3_200)
    assert dbfs(decoded(opus)[40_000:46_000]) > -60
    assert not codes(facts) - {NoteCode.LONGER_THAN_DECLARED}


def test_a_joined_file_that_is_broken_costs_itself_only() -> None:
    broken = made(OGG).replace(b"OpusHead", b"OpusTail")

    facts, _ = transcoded_here(made(OGG, voice(1)) + broken + made(OGG, voice(2)))

    assert facts.duration == pytest.approx(3.0, abs=0.1)
    assert NoteCode.UNREAD in codes(facts)


@pytest.mark.parametrize("media", [sound(), AIFF, W64, CAF], ids=["wav", "aiff", "w64", "caf"])
def test_a_right_header_is_not_doubted(media: bytes) -> None:
    facts, _ = transcoded_here(media)
    assert not facts.notes


def test_a_header_that_says_nothing_of_the_length_is_no_claim() -> None:
    media = made(Recipe("asf", "wmav2", bit_rate=128_000), voice(SECONDS, 44_100))
    # A recorder that was not ended leaves the times at zero, but not the preroll.
    properties = media.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    media = media[: properties + 64] + bytes(16) + media[properties + 80 :]

    facts, _ = transcoded_here(media)

    assert facts.duration == pytest.approx(SECONDS, abs=0.1)
    assert not facts.notes
