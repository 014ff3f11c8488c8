"""Damaged files of many formats keep their length, or a note says by how much they do not.

``DAMAGED_FILES=2000 pytest -s tests/unit/test_audio_damage.py`` tries more, and prints figures.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from consumers.audio.media import MediaLimits, OpusSettings, Transcoded
from consumers.audio.pool import TranscoderPool
from consumers.documents.note import NoteCode
from consumers.errors import BadAudioError
from tests.harness.samples.containers import SoundTrack, muxed
from tests.harness.samples.sounds import Recipe, Signal, amr, made

pytestmark = pytest.mark.sound

COUNT = int(os.environ.get("DAMAGED_FILES", "60"))
SECONDS = 6.0
#: The difference from which on a note is due.
TOLERANCE = 0.5

#: Notes that say that a length is not what the container claims.
ABOUT_LENGTH = {
    NoteCode.BREAKS_OFF,
    NoteCode.LONGER_THAN_DECLARED,
    NoteCode.UNREAD,
    NoteCode.TIMESTAMPS,
}


@dataclass(frozen=True)
class Format:
    """A format, and what it knows about its length."""

    demuxer: str
    media: bytes
    #: Whether timestamps or a header show where bytes are missing.
    declares: bool = True
    #: Whether they do so at the end.
    declares_end: bool = True


def hum(rate: int) -> Signal:
    """A chord with some noise, so that no codec makes it small."""
    time = np.arange(round(SECONDS * rate)) / rate
    noise = np.random.default_rng(7).standard_normal(len(time))
    chord = np.sin(2 * np.pi * 220 * time) + np.sin(2 * np.pi * 333 * time)
    return np.asarray(0.1 * chord + 0.01 * noise, np.float32)


def simple(
    demuxer: str, recipe: Recipe, *, declares: bool = True, declares_end: bool = True
) -> Format:
    return Format(demuxer, made(recipe, hum(recipe.rate)), declares, declares and declares_end)


VORBIS = {"strict": "experimental"}


def formats() -> dict[str, Format]:
    return {
        "wav": simple("wav", Recipe("wav", "pcm_s16le", 16_000, "mono")),
        "aiff": simple("aiff", Recipe("aiff", "pcm_s16be", 16_000, "mono")),
        "mp3": simple("mp3", Recipe("mp3", "libmp3lame")),
        "aac": simple("aac", Recipe("adts", "aac"), declares=False),
        "m4a": simple("mov", Recipe("ipod", "aac")),
        "opus": simple("ogg", Recipe("ogg", "libopus", 48_000)),
        "vorbis": simple("ogg", Recipe("ogg", "vorbis", codec_options=VORBIS)),
        "flac": simple("flac", Recipe("flac", "flac")),
        "webm": Format(
            "matroska",
            muxed("webm", [SoundTrack("libopus", hum(48_000))], cluster_time_limit="1000"),
        ),
        "mpegts": simple("mpegts", Recipe("mpegts", "mp2", 48_000), declares_end=False),
        "avi": simple("avi", Recipe("avi", "libmp3lame")),
        "wma": simple("asf", Recipe("asf", "wmav2", bit_rate=128_000)),
        "amr": Format("amr", amr(SECONDS), declares=False, declares_end=False),
        "ac3": simple("ac3", Recipe("ac3", "ac3", 48_000), declares=False),
    }


@dataclass(frozen=True)
class Damaged:
    """A damaged file, and how long it is by its container."""

    media: bytes
    seconds: float
    kind: str


def zeroed(media: bytes, start: int, size: int, dice: random.Random) -> bytes:
    del dice
    return media[:start] + bytes(size) + media[start + size :]


def scribbled(media: bytes, start: int, size: int, dice: random.Random) -> bytes:
    return media[:start] + dice.randbytes(size) + media[start + size :]


def flipped(media: bytes, start: int, size: int, dice: random.Random) -> bytes:
    changed = bytearray(media)
    for _ in range(20):
        changed[dice.randrange(start, start + size)] ^= 1 << dice.randrange(8)
    return bytes(changed)


def removed(media: bytes, start: int, size: int, dice: random.Random) -> bytes:
    del dice
    return media[:start] + media[start + size :]


def cut(media: bytes, start: int, size: int, dice: random.Random) -> bytes:
    del size, dice
    return media[:start]


KINDS: dict[str, Callable[[bytes, int, int, random.Random], bytes]] = {
    "zeros": zeroed,
    "junk": scribbled,
    "flips": flipped,
    "missing": removed,
    "cut": cut,
}


def damaged(form: Format, dice: random.Random) -> Damaged:
    """Damage up to a third of a file, but not its headers."""
    whole = form.media.find(b"moov") if form.demuxer == "mov" else len(form.media)
    kind = dice.choice(list(KINDS))
    start = dice.randrange(max(4096, whole // 10), whole * 9 // 10)
    size = min(whole - start, 1 << dice.randrange(4, 17), whole // 3)
    media = KINDS[kind](form.media, start, size, dice)
    declares = form.declares_end if kind == "cut" else form.declares
    kept = 1.0 if declares else len(media) / len(form.media)
    return Damaged(media, SECONDS * kept, kind)


@pytest.fixture(scope="module")
def pool() -> Iterator[TranscoderPool]:
    with TranscoderPool(1, OpusSettings(), MediaLimits()) as pool:
        yield pool


def outcome(pool: TranscoderPool, form: Format, file: Damaged) -> tuple[str, Transcoded | None]:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(file.media)
        try:
            facts = pool.transcode(source, form.demuxer, output)
        except BadAudioError as exc:
            return ("crashed" if "crashed" in str(exc) else "refused"), None
    difference = abs(facts.duration - file.seconds)
    codes = {note.code for note in facts.notes}
    if difference <= TOLERANCE:
        return ("whole, noted" if codes else "whole"), facts
    return ("shorter or longer, noted" if codes & ABOUT_LENGTH else "unexplained"), facts


def test_damage_changes_no_length_without_a_note(pool: TranscoderPool) -> None:
    outcomes: Counter[tuple[str, str]] = Counter()
    unexplained: list[str] = []
    forms = formats()
    names = list(forms)
    for number in range(COUNT):
        dice = random.Random(number)
        name = names[number % len(names)]
        file = damaged(forms[name], dice)
        found, facts = outcome(pool, forms[name], file)
        outcomes[name, found] += 1
        if found in ("unexplained", "crashed"):
            lengths = f"{file.seconds:.2f} s became {facts.duration if facts else 0:.2f} s"
            notes = [note.text for note in facts.notes] if facts else []
            unexplained.append(f"{number}: {name}, {file.kind}: {lengths}: {notes}")
    for (name, found), count in sorted(outcomes.items()):
        sys.stdout.write(f"{name:8} {found:26} {count:5}\n")
    assert not unexplained, "\n".join(unexplained)
