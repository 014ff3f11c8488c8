"""Every track and every channel of a recording is heard."""

from __future__ import annotations

import io

import numpy as np
import pytest

from consumers.audio.clip import cut_clip
from consumers.audio.decode import decode_channels
from consumers.documents.note import NoteCode
from tests.harness.samples.containers import SoundTrack, muxed
from tests.harness.samples.sounds import (
    LEVEL_DBFS,
    Signal,
    dbfs,
    decoded,
    silence,
    transcoded_here,
    voice,
    wav,
)

pytestmark = pytest.mark.sound

NOTHING = 1e-9


def apart(opus: bytes) -> Signal:
    """The sound of each channel: shape ``(channels, samples)``."""
    return np.stack(decode_channels(io.BytesIO(opus)))


def turns(channels: int, seconds: float, rate: int = 16_000) -> list[Signal]:
    """Voices of which one speaks at a time, for two seconds each, in turn."""
    sounds = []
    for channel in range(channels):
        time = np.arange(round(seconds * rate)) / rate
        speaks = (time // 2).astype(int) % channels == channel
        pitch = 1 + 0.13 * channel
        sound = voice(seconds * pitch + 1, rate)
        warped = np.interp(time * pitch, np.arange(len(sound)) / rate, sound)
        sounds.append(np.asarray(warped * speaks, np.float32))
    return sounds


def recorded(channels: list[Signal], mask: int = 0) -> bytes:
    """A WAV file of several channels at 16 kHz."""
    header = wav(channels[0], channels=len(channels), mask=mask)
    data = (np.stack(channels, axis=1) * 32767).astype("<i2").tobytes()
    return header[: -len(data)] + data


def level(sound: Signal) -> float:
    return dbfs(sound + NOTHING)


def test_the_second_track_is_heard() -> None:
    tracks = [
        SoundTrack("aac", silence(4, 48_000)),
        SoundTrack("aac", voice(4, 44_100), 44_100, "stereo"),
    ]

    facts, opus = transcoded_here(muxed("matroska", tracks, video=4))

    assert level(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.8)
    assert (facts.channels, facts.output_channels, facts.silent) == (3, 1, False)
    assert facts.layout == "mono + stereo"
    assert {note.code for note in facts.notes} == {NoteCode.SILENT_CHANNEL}


def test_tracks_of_two_people_are_kept_apart() -> None:
    first, second = turns(2, 12, 48_000)
    file = muxed("mp4", [SoundTrack("aac", first), SoundTrack("aac", second)])

    facts, opus = transcoded_here(file)

    assert facts.output_channels == 2
    sound = apart(opus)
    assert sound.shape == (2, pytest.approx(12 * 16_000, abs=1600))
    assert level(sound[0, 4_000:28_000]) > -25
    assert level(sound[1, 4_000:28_000]) < level(sound[0, 4_000:28_000]) - 25
    assert level(sound[1, 36_000:60_000]) > level(sound[0, 36_000:60_000]) + 25


def test_tracks_keep_their_own_times() -> None:
    first, second = turns(2, 8, 48_000)
    late = SoundTrack("aac", second, times=lambda time: time + 5)

    facts, opus = transcoded_here(muxed("mp4", [SoundTrack("aac", first), late]), "split")

    sound = apart(opus)
    assert facts.duration == pytest.approx(13, abs=0.2)
    assert level(sound[1, : 6 * 16_000]) < -60
    assert level(sound[1, round(7.2 * 16_000) : round(8.8 * 16_000)]) > -25
    (note,) = (note for note in facts.notes if note.code == NoteCode.LATE_START)
    assert note.text.startswith("track 2: ")


def test_a_track_that_cannot_be_decoded_costs_itself_only() -> None:
    tracks = [SoundTrack("aac", voice(4, 48_000)), SoundTrack("flac", voice(4, 48_000))]
    file = muxed("matroska", tracks).replace(b"A_FLAC", b"A_FLAP")

    facts, opus = transcoded_here(file)

    assert level(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.8)
    (note,) = facts.notes
    assert note.code == NoteCode.UNDECODABLE_TRACK
    assert note.text.startswith("track 2 cannot be decoded")


@pytest.mark.parametrize("channels", [2, 3, 8])
def test_channels_kept_apart_are_those_of_the_source(channels: int) -> None:
    sounds = turns(channels, 2 * channels)

    facts, opus = transcoded_here(recorded(sounds), "split")

    kept = apart(opus)
    assert (facts.output_channels, len(kept)) == (channels, channels)
    for channel, sound in enumerate(sounds):
        start = channel * 2 * 16_000 + 4_000
        assert level(kept[channel, start : start + 24_000]) == pytest.approx(
            level(sound[start : start + 24_000]), abs=1.5
        )
        others = [other for other in range(channels) if other != channel]
        assert all(level(kept[other, start : start + 24_000]) < -45 for other in others)


def test_more_voices_than_channels_are_all_heard() -> None:
    sounds = turns(11, 22)

    facts, opus = transcoded_here(recorded(sounds), "split")

    kept = apart(opus)
    assert len(kept) == facts.output_channels == 8
    assert NoteCode.CHANNELS_MIXED in {note.code for note in facts.notes}
    for turn in range(11):
        start = turn * 2 * 16_000 + 4_000
        assert max(level(channel[start : start + 24_000]) for channel in kept) > -45


@pytest.mark.parametrize("channels", [2, 3, 8])
def test_several_channels_become_one_in_a_clip(channels: int) -> None:
    sounds = turns(channels, 2 * channels)
    _, opus = transcoded_here(recorded(sounds), "split")

    clip = cut_clip(io.BytesIO(opus), start=0, end=2 * channels, margin=0, fade=0)

    mono = decoded(clip.data)
    assert mono.shape == (2 * channels * 16_000,)
    for turn, sound in enumerate(sounds):
        start = turn * 2 * 16_000 + 4_000
        heard, said = mono[start : start + 24_000], sound[start : start + 24_000]
        assert level(heard) == pytest.approx(level(said), abs=1.5)


def test_a_clip_of_several_channels_is_their_mix() -> None:
    _, opus = transcoded_here(recorded(turns(3, 6)), "split")

    clip = cut_clip(io.BytesIO(opus), start=2.2, end=3.8, margin=0)

    sound = decoded(clip.data)
    assert len(sound) == pytest.approx(1.6 * 16_000, abs=100)
    assert level(sound[4_000:20_000]) > -40


@pytest.mark.parametrize("mask", [0x3F, 0x0F])
def test_no_loudspeaker_is_dropped(mask: int) -> None:
    channels = mask.bit_count()
    for sounding in range(channels):
        sounds = [silence(1)] * channels
        sounds[sounding] = voice(1)
        facts, opus = transcoded_here(recorded(sounds, mask))
        assert level(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.7)
        assert facts.loudness_dbfs == pytest.approx(LEVEL_DBFS, abs=0.2)


def test_opposite_phase_does_not_cancel() -> None:
    facts, opus = transcoded_here(recorded([voice(2), -voice(2)]))

    assert level(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.7)
    assert NoteCode.OPPOSITE_PHASE in {note.code for note in facts.notes}
    assert not facts.silent


def test_one_quiet_microphone_of_eight_is_heard() -> None:
    quiet = voice(3, level_dbfs=-54)
    facts, opus = transcoded_here(recorded([silence(3)] * 7 + [quiet]))

    assert level(decoded(opus)) == pytest.approx(-54, abs=2)
    assert not facts.silent


def test_channels_that_differ_only_late_are_judged_by_all_of_it() -> None:
    other = np.concatenate([voice(64), silence(4), *[voice(2), silence(2)] * 4])
    mine = np.concatenate([voice(64), silence(4), *[silence(2), voice(2)] * 4])

    facts, opus = transcoded_here(recorded([other, mine]), "split")

    assert facts.output_channels == 2
    assert facts.size == len(opus)
    sound = apart(opus)
    assert facts.duration == sound.shape[1] / 16_000 == 84
    assert level(sound[0, 69 * 16_000 : 70 * 16_000 - 4_000]) > -25
    assert level(sound[1, 69 * 16_000 : 70 * 16_000 - 4_000]) < -45


def test_mono_becomes_stereo_in_the_middle() -> None:
    first, second = turns(2, 12)
    file = wav(voice(3)) + recorded([first, second])

    facts, opus = transcoded_here(file, "split")

    assert (facts.output_channels, facts.duration) == (2, 15)
    assert len(apart(opus)) == 2


def test_one_track_of_very_many_channels_is_read() -> None:
    channels = [silence()] * 199 + [voice()]

    facts, opus = transcoded_here(recorded(channels))

    assert {note.code for note in facts.notes} == {NoteCode.SILENT_CHANNEL}
    assert level(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.8)
