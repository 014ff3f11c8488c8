"""Sound keeps the time that it has in its container; what is missing is silence, and noted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from consumers.documents.note import Note, NoteCode
from tests.harness.samples.containers import SoundTrack, Times, muxed
from tests.harness.samples.sounds import (
    Recipe,
    Signal,
    amr,
    dbfs,
    decoded,
    made,
    transcoded_here,
    voice,
)

pytestmark = pytest.mark.sound

CONTAINERS = {
    "matroska": ("matroska", "libopus", 48_000),
    "mp4": ("mp4", "aac", 48_000),
    "mpegts": ("mpegts", "mp2", 48_000),
    "flv": ("flv", "libmp3lame", 44_100),
}
AMR_PAUSE = bytes([15 << 3 | 4])
AMR_NOISE = bytes([8 << 3 | 4]) + bytes(5)


def file(container: str, seconds: float, times: Times, video: float = 0) -> bytes:
    """A voice, at the times that a function gives."""
    muxer, codec, rate = CONTAINERS[container]
    track = SoundTrack(codec, voice(seconds, rate), rate, times=times)
    return muxed(muxer, [track], video=video)


def heard(sound: Signal, start: float, end: float) -> bool:
    return dbfs(sound[round(start * 16_000) : round(end * 16_000)] + 1e-9) > -40


def passages(notes: Sequence[Note], code: NoteCode) -> list[float]:
    """Starts and ends of all passages of a kind."""
    found = [note for note in notes if note.code == code]
    return [time for note in found for time in (note.start, note.end) if time is not None]


@pytest.mark.parametrize("container", CONTAINERS)
def test_sound_that_begins_late_begins_late(container: str) -> None:
    facts, opus = transcoded_here(file(container, 2, lambda time: time + 3, video=5))

    sound = decoded(opus)
    assert facts.duration == pytest.approx(5, abs=0.15)
    assert not heard(sound, 0, 2.8)
    assert heard(sound, 3.2, 4.8)
    assert passages(facts.notes, NoteCode.LATE_START) == pytest.approx([0, 3], abs=0.1)
    assert not any(note.is_loss for note in facts.notes)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_gap_is_silence_of_its_length(container: str) -> None:
    late = file(container, 4, lambda time: time if time < 2 else time + 4, video=8)

    facts, opus = transcoded_here(late)

    sound = decoded(opus)
    assert facts.duration == pytest.approx(8, abs=0.15)
    assert heard(sound, 0.2, 1.8)
    assert not heard(sound, 2.3, 5.7)
    assert heard(sound, 6.3, 7.7)
    assert passages(facts.notes, NoteCode.GAP) == pytest.approx([2, 6], abs=0.1)
    assert not any(note.is_loss for note in facts.notes)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("video", [0, 3])
def test_sound_without_gaps_has_no_notes(container: str, video: float) -> None:
    facts, _ = transcoded_here(file(container, 3, lambda time: time, video))

    assert facts.duration == pytest.approx(3, abs=0.15)
    assert not facts.notes


def test_an_mp4_that_begins_with_an_empty_edit_begins_with_silence() -> None:
    facts, _ = transcoded_here(file("mp4", 2, lambda time: time + 3))

    assert facts.duration == pytest.approx(5, abs=0.15)
    assert passages(facts.notes, NoteCode.LATE_START) == pytest.approx([0, 3], abs=0.1)


def test_jitter_is_no_gap() -> None:
    jittery = file("matroska", 4, lambda time: time + 0.015 * (round(time * 50) % 3))

    facts, _ = transcoded_here(jittery)

    assert facts.duration == pytest.approx(4, abs=0.1)
    assert not facts.notes


def test_one_broken_timestamp_moves_nothing() -> None:
    broken = file("matroska", 4, lambda time: 50_000 if 1.99 < time < 2.01 else time)

    facts, _ = transcoded_here(broken)

    assert facts.duration == pytest.approx(4, abs=0.1)
    # By its muxer, the file is as long as the broken timestamp says.
    assert {note.code for note in facts.notes} == {NoteCode.TIMESTAMPS, NoteCode.BREAKS_OFF}


def test_a_jump_beyond_the_declared_end_writes_no_hours_of_silence() -> None:
    whole = file("matroska", 4, lambda time: time if time < 2 else time + 9_000)
    # The declared duration stands in a float behind its name.
    at = whole.index(b"\x44\x89\x88") + 3
    jumping = whole[:at] + b"\x40\xaf\x40\x00\x00\x00\x00\x00" + whole[at + 8 :]

    facts, _ = transcoded_here(jumping)

    assert facts.duration == pytest.approx(4, abs=0.1)
    assert NoteCode.TIMESTAMPS in {note.code for note in facts.notes}


def test_transport_streams_that_somebody_joined_follow_each_other() -> None:
    part = made(Recipe("mpegts", "mp2", 48_000, "mono"), voice(5, 48_000))

    facts, opus = transcoded_here(part + part)

    assert facts.duration == pytest.approx(10, abs=0.2)
    assert heard(decoded(opus), 5.2, 9.8)
    assert {note.code for note in facts.notes} == {NoteCode.TIMESTAMPS}


def test_pauses_of_amr_are_no_damage() -> None:
    pause = (AMR_NOISE + AMR_PAUSE * 7) * 188

    facts, opus = transcoded_here(amr(3) + pause + amr(3)[6:])

    sound = decoded(opus)
    assert facts.duration == pytest.approx(6 + 188 * 8 / 50, abs=0.05)
    assert (facts.damaged, facts.notes) == (0, ())
    assert dbfs(sound[3 * 16_000 : 33 * 16_000] + 1e-9) < -60
    assert dbfs(sound[34 * 16_000 :]) > -60


def test_packets_of_an_avi_out_of_the_files_order_are_no_damage() -> None:
    # FFmpeg's parser hands out a packet of AC-3 only with the one behind the next picture.
    track = SoundTrack("ac3", voice(4, 48_000), layout="5.1")

    facts, _ = transcoded_here(muxed("avi", [track], video=4))

    assert facts.duration == pytest.approx(4, abs=0.1)
    assert not {note.code for note in facts.notes} - {NoteCode.SILENT_CHANNEL}


def test_an_ogg_whose_times_begin_late_says_so() -> None:
    track = SoundTrack("libopus", voice(4, 48_000), times=lambda time: time + 3600)

    facts, _ = transcoded_here(muxed("ogg", [track]))

    assert facts.duration == pytest.approx(4, abs=0.1)
    assert [note.code for note in facts.notes] == [NoteCode.TIMESTAMPS]


def test_timestamps_that_begin_at_an_hour_are_no_missing_hour() -> None:
    facts, _ = transcoded_here(file("matroska", 4, lambda time: time + 3600))

    assert facts.duration == pytest.approx(4, abs=0.1)
    assert not facts.notes
