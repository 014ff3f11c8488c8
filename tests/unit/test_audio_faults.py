"""Broken and hostile files cost themselves a clear error, and nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.audio.container import open_media
from consumers.audio.media import MediaLimits, OpusSettings, Transcoded
from consumers.audio.pool import TranscoderPool
from consumers.audio.transcode import TranscodeOptions, transcode
from consumers.documents.note import NoteCode
from consumers.errors import BadAudioError, TransientError
from tests.harness.samples.containers import muxed
from tests.harness.samples.sounds import (
    LEVEL_DBFS,
    Recipe,
    chunk,
    dbfs,
    decoded,
    flac_with_covers,
    made,
    silence,
    transcoded,
    voice,
    wav,
)

pytestmark = pytest.mark.sound

CASES = {
    "mp3": Recipe("mp3", "libmp3lame"),
    "wav": Recipe("wav", "pcm_s16le"),
    "flac": Recipe("flac", "flac"),
    "ogg": Recipe("ogg", "libopus", 48_000),
    "aac": Recipe("adts", "aac"),
    "mov": Recipe("mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}),
    "matroska": Recipe("matroska", "flac"),
}
HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n%s\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile '%s'\n"


@cache
def file_of(demuxer: str) -> bytes:
    return made(CASES[demuxer])


@pytest.fixture(scope="module")
def pool() -> Iterator[TranscoderPool]:
    with TranscoderPool(1, OpusSettings(), MediaLimits()) as pool:
        yield pool


def as_demuxer(pool: TranscoderPool, media: bytes, demuxer: str) -> Transcoded:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(media)
        return pool.transcode(source, demuxer, output)


@pytest.mark.parametrize("demuxer", CASES)
@pytest.mark.parametrize("junk", [b"", b"\x00", bytes(100_000), b"All work and no play. " * 999])
def test_junk_is_refused_by_every_demuxer(pool: TranscoderPool, demuxer: str, junk: bytes) -> None:
    with pytest.raises(BadAudioError):
        as_demuxer(pool, junk, demuxer)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(CASES)), st.floats(0, 1))
def test_the_decodable_part_of_a_truncated_file_is_kept(
    pool: TranscoderPool, demuxer: str, part: float
) -> None:
    media = file_of(demuxer)
    try:
        facts = as_demuxer(pool, media[: int(part * len(media))], demuxer)
    except BadAudioError:
        assert part < 0.6  # a fragmented MP4 of two seconds has but one or two fragments
    else:
        assert 0.05 <= facts.duration <= 2 * part + 0.2


@pytest.mark.parametrize("demuxer", sorted(set(CASES) - {"mov"}))
def test_half_a_file_is_half_a_recording(pool: TranscoderPool, demuxer: str) -> None:
    facts = as_demuxer(pool, file_of(demuxer)[: len(file_of(demuxer)) // 2], demuxer)
    assert facts.duration == pytest.approx(1.0, abs=0.4)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(CASES)),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=20),
)
def test_flipped_bytes_are_survived(
    pool: TranscoderPool, demuxer: str, flips: list[tuple[float, int]]
) -> None:
    media = bytearray(file_of(demuxer))
    for place, value in flips:
        media[int(place * len(media))] = value
    refusal = ""
    try:
        as_demuxer(pool, bytes(media), demuxer)
    except BadAudioError as exc:
        refusal = str(exc)
    assert "crashed" not in refusal


def test_damaged_packets_are_counted_and_become_silence(pool: TranscoderPool) -> None:
    media = bytearray(file_of("mov"))
    middle = media.index(b"mdat") + 4000
    media[middle : middle + 2000] = bytes(2000)

    facts = as_demuxer(pool, bytes(media), "mov")

    assert facts.damaged > 0
    assert [note.code for note in facts.notes] == [NoteCode.DAMAGED]
    assert facts.duration == pytest.approx(2.0, abs=0.05)


def test_bytes_that_hold_no_packet_are_noted_and_become_silence(pool: TranscoderPool) -> None:
    media = bytearray(file_of("aac"))
    middle = len(media) // 2
    media[middle : middle + 2000] = bytes(2000)

    facts = as_demuxer(pool, bytes(media), "aac")

    (note,) = facts.notes
    assert note.code == NoteCode.DAMAGED
    assert note.start == pytest.approx(1.0, abs=0.2)
    assert facts.duration == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("demuxer", ["mp3", "wav", "mov", "matroska", "ogg"])
@pytest.mark.parametrize("script", [HLS, CONCAT], ids=["hls", "concat"])
def test_a_script_that_refers_to_a_file_is_not_followed(
    pool: TranscoderPool, tmp_path: Path, demuxer: str, script: bytes
) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(voice()))
    with pytest.raises(BadAudioError):
        as_demuxer(pool, script % bytes(secret), demuxer)


@pytest.mark.parametrize("demuxer", ["hls", "concat", "lavfi", "sdp", "", "mp3,hls", "mp3:hls"])
def test_other_demuxers_cannot_be_asked_for(pool: TranscoderPool, demuxer: str) -> None:
    with pytest.raises(ValueError, match="not a demuxer"):
        as_demuxer(pool, file_of("mp3"), demuxer)


def test_pictures_are_never_decoded() -> None:
    with tempfile.TemporaryFile() as source:
        source.write(made(Recipe("avi", "libmp3lame", video="mpeg4")))
        source.seek(0)
        with open_media(source.fileno(), "avi") as container:
            # FFmpeg learns how the picture is stored by decoding one.
            assert container.streams.video[0].codec_context.pix_fmt is None


def test_a_file_without_sound_says_so(pool: TranscoderPool) -> None:
    without = chunk(b"fmt ", bytes(16))
    media = b"RIFF" + (4 + len(without)).to_bytes(4, "little") + b"WAVE" + without
    with pytest.raises(BadAudioError):
        transcoded(pool, media)


def test_a_blink_of_sound_is_no_recording(pool: TranscoderPool) -> None:
    with pytest.raises(BadAudioError, match="no sound in it can be decoded"):
        transcoded(pool, wav(voice(0.04)))


@pytest.mark.parametrize(
    ("limits", "media", "message"),
    [
        (MediaLimits(duration_seconds=36), wav(silence(38, 8_000), 8_000), "than 0.01 hours"),
        (MediaLimits(output_bytes=10_000), wav(voice(10)), "larger than 10000 bytes"),
        (MediaLimits(memory_bytes=256 << 20), flac_with_covers(10), "256 MiB of memory"),
        (
            MediaLimits(cpu_seconds=0.3),
            wav(silence(1800, 8_000), 8_000),
            "0.3 s of processor time",
        ),
        (
            MediaLimits(wall_seconds=0.5),
            wav(silence(1800, 8_000), 8_000),
            "more than 0.5 s to decode",
        ),
    ],
    ids=["duration", "output", "memory", "processor time", "time"],
)
def test_a_file_over_a_limit_is_refused_and_the_next_is_not(
    limits: MediaLimits, media: bytes, message: str
) -> None:
    with TranscoderPool(1, OpusSettings(), limits) as pool:
        with pytest.raises(BadAudioError, match=message):
            transcoded(pool, media)

        facts, _ = transcoded(pool, wav(voice(1)))
        assert facts.duration == 1.0


def test_a_full_disk_is_not_the_recordings_fault() -> None:
    job = TranscodeOptions("wav", OpusSettings(), MediaLimits(), -60.0)
    with tempfile.TemporaryFile() as source, Path("/dev/full").open("wb") as full:
        source.write(wav(voice()))
        source.flush()
        os.lseek(source.fileno(), 0, os.SEEK_SET)
        with pytest.raises(TransientError, match="No space left"):
            transcode(source.fileno(), full.fileno(), job, lambda _: None)


def test_wavpack_goes_on_behind_what_is_no_block(pool: TranscoderPool) -> None:
    media = made(Recipe("wv", "wavpack"), voice(8, 44_100))
    blocks = [at for at in range(len(media)) if media.startswith(b"wvpk", at)]
    first, second = blocks[2], blocks[4]

    for between in (b"", bytes(second - first), bytes(100_000)):
        facts, opus = transcoded(pool, media[:first] + between + media[second:])

        sound = decoded(opus)
        assert facts.duration == pytest.approx(8, abs=0.01)
        assert [note.code for note in facts.notes] == [NoteCode.DAMAGED]
        assert dbfs(sound[-16_000:]) == pytest.approx(LEVEL_DBFS, abs=1)


@pytest.mark.parametrize("zeros", [False, True])
def test_missing_packets_of_a_transport_stream_are_damage(
    pool: TranscoderPool, zeros: bool
) -> None:
    media = made(Recipe("mpegts", "mp2", 48_000), voice(8, 48_000))
    first, second = (len(media) // 188 * part // 8 * 188 for part in (2, 4))
    between = bytes(second - first) if zeros else b""

    facts, _ = transcoded(pool, media[:first] + between + media[second:])

    assert facts.duration == pytest.approx(8, abs=0.1)
    assert [note.code for note in facts.notes] == [NoteCode.DAMAGED]


def test_a_part_of_a_transport_stream_without_sound_is_silence(pool: TranscoderPool) -> None:
    pictures = muxed("mpegts", [], video=3)
    sound = made(Recipe("mpegts", "mp2", 48_000), voice(2, 48_000))

    facts, _ = transcoded(pool, pictures + sound)

    assert facts.duration == pytest.approx(5, abs=0.3)
    (note,) = facts.notes
    assert (note.code, note.start) == (NoteCode.GAP, 0)


@pytest.mark.parametrize("codec", ["libopus", "vorbis", "flac"])
def test_a_missing_page_of_ogg_is_damage(pool: TranscoderPool, codec: str) -> None:
    strict = {"strict": "experimental"}
    media = made(Recipe("ogg", codec, 48_000, codec_options=strict), voice(8, 48_000))
    pages = [at for at in range(len(media)) if media.startswith(b"OggS", at)]
    middle = len(pages) // 2

    facts, _ = transcoded(pool, media[: pages[middle]] + media[pages[middle + 1] :])

    assert facts.duration == pytest.approx(8, abs=0.1)
    assert {note.code for note in facts.notes} == {NoteCode.DAMAGED}


def test_encrypted_sound_is_named(pool: TranscoderPool) -> None:
    key = "00112233445566778899aabbccddeeff"
    options = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key}
    with pytest.raises(BadAudioError, match="it is encrypted"):
        as_demuxer(pool, made(Recipe("mp4", "aac", options=options)), "mov")

    media = made(Recipe("asf", "wmav2", bit_rate=128_000))
    content_encryption = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
    codec_list = bytes.fromhex("4052d1861d31d011a3a400a0c90348f6")
    with pytest.raises(BadAudioError, match="it is encrypted"):
        as_demuxer(pool, media.replace(codec_list, content_encryption), "asf")


def test_damaged_packets_of_unknown_length_are_noted(pool: TranscoderPool) -> None:
    # WAV does not say how long a packet of Speex is.
    media = wav(voice(8)).replace(b"fmt \x10\0\0\0\x01\0", b"fmt \x10\0\0\0\x09\xa1")

    facts = as_demuxer(pool, media, "wav")

    assert facts.damaged
    assert NoteCode.DAMAGED in {note.code for note in facts.notes}


def test_fragments_behind_damage_are_read(pool: TranscoderPool) -> None:
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"}
    media = made(Recipe("mp4", "aac", options=options), voice(8, 44_100))
    fragments = [at - 4 for at in range(len(media)) if media.startswith(b"moof", at)]
    start, end = fragments[2], fragments[4]

    for between in (bytes(end - start), bytes(100_000)):
        facts, _ = transcoded(pool, media[:start] + between + media[end:])

        assert facts.duration == pytest.approx(8, abs=0.1)
        assert [note.code for note in facts.notes] == [NoteCode.DAMAGED]


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2", "ac3"])
def test_zeros_between_frames_in_a_wav_keep_their_time(pool: TranscoderPool, codec: str) -> None:
    media = made(Recipe("wav", codec, 48_000), voice(8, 48_000))
    start, size = len(media) // 3, len(media) // 4

    facts, _ = transcoded(pool, media[:start] + bytes(size) + media[start + size :])

    assert facts.duration == pytest.approx(8, abs=0.3)
    assert NoteCode.DAMAGED in {note.code for note in facts.notes}
