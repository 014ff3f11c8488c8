"""Sound of every format becomes Opus of the same length and loudness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import av
import numpy as np
import pytest

from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.pool import TranscoderPool
from tests.harness.samples.containers import SoundTrack, muxed
from tests.harness.samples.sounds import (
    LEVEL_DBFS,
    SECONDS,
    Recipe,
    amr,
    chunk,
    dbfs,
    decoded,
    dsf,
    id3,
    made,
    transcoded,
    voice,
    wav,
)

pytestmark = pytest.mark.sound

FORMATS = {
    "wav": Recipe("wav", "pcm_s16le"),
    "wav, 8 bit": Recipe("wav", "pcm_u8", 11_025, "mono"),
    "wav, 24 bit, 96 kHz": Recipe("wav", "pcm_s24le", 96_000),
    "wav, float": Recipe("wav", "pcm_f32le", 48_000),
    "wav, mu-law": Recipe("wav", "pcm_mulaw", 8_000, "mono"),
    "wav, A-law": Recipe("wav", "pcm_alaw", 8_000, "mono"),
    "wav, IMA ADPCM": Recipe("wav", "adpcm_ima_wav", 22_050, "mono"),
    "wav, 5.1": Recipe("wav", "pcm_s16le", 48_000, "5.1"),
    "wav, RF64": Recipe("wav", "pcm_s16le", options={"rf64": "always"}),
    "wave64": Recipe("w64", "pcm_s16le"),
    "mp3": Recipe("mp3", "libmp3lame"),
    "mp3, MPEG-2": Recipe("mp3", "libmp3lame", 16_000, "mono"),
    "mp2": Recipe("mp2", "mp2", 48_000),
    "flac": Recipe("flac", "flac"),
    "flac, 5.1, 96 kHz": Recipe("flac", "flac", 96_000, "5.1"),
    "ogg vorbis": Recipe("ogg", "vorbis", codec_options={"strict": "experimental"}),
    "ogg opus": Recipe("ogg", "libopus", 48_000),
    "ogg flac": Recipe("ogg", "flac"),
    "m4a, moov at its end": Recipe("ipod", "aac"),
    "m4a, fragmented": Recipe("mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}),
    "m4a, ALAC": Recipe("ipod", "alac"),
    "quicktime": Recipe("mov", "pcm_s16be"),
    "aac": Recipe("adts", "aac"),
    "aac, LATM": Recipe("latm", "aac"),
    "aiff": Recipe("aiff", "pcm_s16be"),
    "aiff-c": Recipe("aiff", "pcm_mulaw", 8_000, "mono"),
    "caf": Recipe("caf", "pcm_s16be"),
    "au": Recipe("au", "pcm_s16be"),
    "wma": Recipe("asf", "wmav2", bit_rate=128_000),
    "matroska": Recipe("matroska", "flac"),
    "webm": Recipe("webm", "libopus", 48_000),
    "wavpack": Recipe("wv", "wavpack"),
    "tta": Recipe("tta", "tta"),
    "ac3, 5.1": Recipe("ac3", "ac3", 48_000, "5.1"),
    "eac3": Recipe("eac3", "eac3", 48_000),
    "real media": Recipe("rm", "ac3", 48_000),
    "voc": Recipe("voc", "pcm_u8", 11_025, "mono"),
    "flv": Recipe("flv", "libmp3lame"),
    "mpeg": Recipe("mpeg", "mp2", 48_000),
    "mpeg-ts": Recipe("mpegts", "aac", 48_000),
    "video, mp4": Recipe("mp4", "aac", video="mpeg4"),
    "video, avi": Recipe("avi", "libmp3lame", video="mpeg4"),
    "video, matroska": Recipe("matroska", "aac", video="mpeg4"),
    "video, mpeg-ts": Recipe("mpegts", "aac", 48_000, video="mpeg2video"),
    "video, wmv": Recipe("asf", "wmav2", bit_rate=128_000, video="mpeg4"),
}
MP3 = Recipe("mp3", "libmp3lame")
ODD_CHUNKS = chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"abc")) + chunk(b"JUNK", b"seven b")
NOT_UTF_8 = chunk(b"LIST", b"INFO" + chunk(b"INAM", "Zoë".encode("latin-1")))
BY_HAND = {
    "wav, odd chunks first": wav(voice(), before=ODD_CHUNKS),
    "wav, a title that is not UTF-8": wav(voice(), before=NOT_UTF_8),
    "wav, a header that claims 4 GiB": wav(voice(), data_size=0xFFFF_FFF0),
    "wav, a header from before the end": wav(voice(), data_size=0),
    "wav, 3 microphones": wav(voice(), channels=3, mask=0),
    "wav, 64 microphones": wav(voice(), channels=64, mask=0),
    "mp3, 5 MB of ID3": id3(5_000_000) + made(MP3),
    "mp3, zero bytes first": bytes(1000) + made(MP3),
    "flac, two ID3 tags": id3(100) + id3(1000) + made(Recipe("flac", "flac")),
    "aac, ID3": id3(1000) + made(Recipe("adts", "aac")),
    "aac, 44.1 kHz stereo, then 24 kHz mono": (
        made(Recipe("adts", "aac"), voice(1, 44_100))
        + made(Recipe("adts", "aac", 24_000, "mono"), voice(1, 24_000))
    ),
    "mp3, 44.1 kHz stereo, then 16 kHz mono": (
        made(MP3, voice(1, 44_100)) + made(replace(MP3, rate=16_000, layout="mono"), voice(1))
    ),
    "ogg flac, 44.1 kHz stereo, then 16 kHz mono": (
        made(Recipe("ogg", "flac"), voice(1, 44_100))
        + made(Recipe("ogg", "flac", 16_000, "mono"), voice(1))
    ),
}
# An encoder's delay and last frame make a file longer than its sound.
PADDING_SECONDS = 0.12


@pytest.fixture(scope="module")
def pool() -> Iterator[TranscoderPool]:
    with TranscoderPool(1, OpusSettings(), MediaLimits()) as pool:
        yield pool


@pytest.mark.parametrize("recipe", FORMATS.values(), ids=FORMATS)
def test_every_format_keeps_its_length_and_loudness(pool: TranscoderPool, recipe: Recipe) -> None:
    facts, opus = transcoded(pool, made(recipe))

    sound = decoded(opus)
    assert len(sound) / 16_000 == pytest.approx(SECONDS, abs=PADDING_SECONDS)
    assert facts.duration == pytest.approx(len(sound) / 16_000, abs=0.001)
    assert dbfs(sound) == pytest.approx(LEVEL_DBFS, abs=0.7)
    assert facts.loudness_dbfs == pytest.approx(LEVEL_DBFS, abs=0.7)
    assert facts.sample_rate == pytest.approx(recipe.rate, rel=0.01)
    assert facts.channels == av.AudioLayout(recipe.layout).nb_channels
    assert (facts.size, facts.damaged, facts.silent) == (len(opus), 0, False)


@pytest.mark.parametrize("media", BY_HAND.values(), ids=BY_HAND)
def test_common_mistakes_of_real_files_are_understood(pool: TranscoderPool, media: bytes) -> None:
    facts, opus = transcoded(pool, media)

    assert facts.duration == pytest.approx(SECONDS, abs=PADDING_SECONDS)
    assert dbfs(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.8)


def test_amr_is_read(pool: TranscoderPool) -> None:
    facts, _ = transcoded(pool, amr())
    assert (facts.codec, facts.sample_rate, facts.channels) == ("amr_nb", 8_000, 1)
    assert facts.duration == pytest.approx(SECONDS, abs=0.02)


def test_dsd_is_read(pool: TranscoderPool) -> None:
    facts, _ = transcoded(pool, dsf())
    assert (facts.codec, facts.silent) == ("dsd_lsbf_planar", True)
    assert facts.duration == pytest.approx(SECONDS, abs=0.02)


def test_the_codec_is_named_without_its_implementation(pool: TranscoderPool) -> None:
    facts, _ = transcoded(pool, made(MP3))
    assert (facts.codec, facts.sample_rate, facts.channels) == ("mp3", 44_100, 2)


@pytest.mark.parametrize("microphone", range(3))
def test_sound_on_any_unlabelled_channel_is_heard(pool: TranscoderPool, microphone: int) -> None:
    # FFmpeg alone takes three channels for left, right and subwoofer, and drops the last.
    mono = np.frombuffer(wav(voice())[44:], "<i2")
    tracks = np.zeros((len(mono), 3), "<i2")
    tracks[:, microphone] = mono
    header = wav(voice(), channels=3, mask=0)
    media = header[: -tracks.nbytes] + tracks.tobytes()

    facts, opus = transcoded(pool, media)

    assert facts.loudness_dbfs == pytest.approx(LEVEL_DBFS, abs=0.2)
    assert dbfs(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.7)


def test_the_same_file_always_gives_the_same_bytes(pool: TranscoderPool) -> None:
    media = made(MP3)
    with TranscoderPool(1, OpusSettings(), MediaLimits()) as another:
        assert transcoded(pool, media) == transcoded(pool, media) == transcoded(another, media)


def test_tags_are_not_copied(pool: TranscoderPool) -> None:
    media = made(replace(MP3, tags={"title": "Private matters"}))
    assert b"Private matters" in media

    _, opus = transcoded(pool, media)

    assert b"Private" not in opus


def test_opus_is_made_as_the_settings_say(pool: TranscoderPool) -> None:
    media = made(Recipe("wav", "pcm_s16le"), voice(5, 44_100))
    settings = OpusSettings(bit_rate=96_000, sample_rate=48_000, application="audio")

    with TranscoderPool(1, settings, MediaLimits()) as fine_pool:
        fine, opus = transcoded(fine_pool, media)

    usual, _ = transcoded(pool, media)
    assert fine.size > 2.5 * usual.size
    assert fine.duration == usual.duration == len(decoded(opus)) / 16_000 == 5.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 44_100},
        {"application": "music"},
        {"complexity": 11},
        {"frame_milliseconds": 30},
    ],
)
def test_settings_that_opus_does_not_know_are_refused(wrong: dict[str, int | str]) -> None:
    with pytest.raises(ValueError, match="must be"):
        OpusSettings(**wrong)  # type: ignore[arg-type]


def test_subtitles_beside_the_sound_do_no_harm(pool: TranscoderPool) -> None:
    tracks = [SoundTrack("flac", voice(rate=48_000)), SoundTrack("pcm_s16le", voice(rate=48_000))]
    media = muxed("matroska", tracks).replace(b"A_PCM/INT/LIT", b"S_TEXT/UTF8\0\0")
    subtitles = media.index(b"\xae", media.index(b"A_FLAC"))
    media = media[:subtitles] + media[subtitles:].replace(b"\x83\x81\x02", b"\x83\x81\x11", 1)

    facts, opus = transcoded(pool, media)

    assert (facts.codec, facts.channels) == ("flac", 1)
    assert dbfs(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.7)
