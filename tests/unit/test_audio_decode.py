"""Our own Opus, as the recogniser gets it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.audio.decode import count_channels, decode_channels
from consumers.errors import BadAudioError
from tests.harness.samples.sounds import Recipe, dbfs, made, multichannel, voice

OPUS = made(Recipe("ogg", "libopus", 16_000, "mono"), voice(3.21))


class Pipe(io.BytesIO):
    """A body that comes over a network: it cannot be sought in."""

    def seekable(self) -> bool:
        return False


def test_opus_becomes_mono_floats_at_16_khz() -> None:
    file = io.BytesIO(OPUS)

    (sound,) = decode_channels(file)

    assert sound.dtype == np.float32
    assert sound.shape == (round(3.21 * 16_000),)
    assert dbfs(sound) == pytest.approx(-20, abs=0.5)
    assert not file.closed


def test_an_unseekable_body_is_read() -> None:
    assert np.array_equal(decode_channels(Pipe(OPUS)), decode_channels(io.BytesIO(OPUS)))


def test_sound_stays_within_full_scale() -> None:
    square = np.sign(voice(2)).astype(np.float32)
    (sound,) = decode_channels(io.BytesIO(made(Recipe("ogg", "libopus", 16_000, "mono"), square)))
    assert np.abs(sound).max() == 1.0


@pytest.mark.parametrize(
    "media",
    [b"", b"OggS", b"no sound at all" * 100, OPUS[:200], made(Recipe("flac", "flac"))],
    ids=["empty", "a magic", "text", "headers only", "flac"],
)
def test_files_other_than_ogg_opus_are_refused(media: bytes) -> None:
    with pytest.raises(BadAudioError, match="Opus"):
        decode_channels(io.BytesIO(media))


def test_another_codec_in_ogg_is_refused() -> None:
    with pytest.raises(BadAudioError, match="not Ogg Opus"):
        decode_channels(io.BytesIO(made(Recipe("ogg", "flac"))))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(OPUS)), st.binary(max_size=40))
def test_damage_is_refused_or_decoded_and_nothing_else(offset: int, junk: bytes) -> None:
    damaged = OPUS[:offset] + junk + OPUS[offset + len(junk) :]
    try:
        (sound,) = decode_channels(io.BytesIO(damaged))
    except BadAudioError:
        return
    assert 0 < len(sound) <= 4 * 16_000
    assert np.isfinite(sound).all()


LEFT, RIGHT = voice(2, level_dbfs=-20), voice(2, level_dbfs=-30)[::-1].copy()


@pytest.mark.parametrize("number", [2, 3, 8])
def test_each_channel_is_decoded_on_its_own(number: int) -> None:
    sounds = [LEFT, RIGHT, *[np.zeros_like(LEFT)] * (number - 2)]
    opus = multichannel(sounds)

    channels = decode_channels(io.BytesIO(opus))

    assert count_channels(io.BytesIO(opus)) == len(channels) == number
    assert [dbfs(channel + np.float32(1e-6)) < -60 for channel in channels[2:]] == [True] * (
        number - 2
    )
    for sound, channel in zip(sounds[:2], channels, strict=False):
        assert dbfs(channel) == pytest.approx(dbfs(sound), abs=1)
        assert np.corrcoef(channel, sound)[0, 1] > 0.6
    (second,) = decode_channels(io.BytesIO(opus), [1])
    assert np.array_equal(second, channels[1])


def test_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadAudioError, match="has 1 channels"):
        decode_channels(io.BytesIO(OPUS), [1])
