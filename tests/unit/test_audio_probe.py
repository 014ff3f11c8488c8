"""Files without a known signature: FFmpeg's probe, in the child, tells sound from anything else."""

from __future__ import annotations

import io
import os
import random
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.audio.media import MediaLimits, OpusSettings, Transcoded
from consumers.audio.pool import TranscoderPool
from consumers.audio.probe import PROBED_DEMUXERS
from consumers.audio.sniff import sniff
from consumers.documents.note import NoteCode
from consumers.errors import BadAudioError, UnknownFormatError
from tests.harness.samples.sounds import (
    LEVEL_DBFS,
    SECONDS,
    Recipe,
    dbfs,
    decoded,
    id3,
    made,
    voice,
    wav,
)

pytestmark = pytest.mark.sound

PADDING_SECONDS = 0.12
MP3 = made(Recipe("mp3", "libmp3lame"))
FORMATS = {
    "mp3": MP3,
    "flac": made(Recipe("flac", "flac")),
    "ogg": made(Recipe("ogg", "libopus", 48_000)),
    "wav": wav(voice()),
    "m4a": made(Recipe("ipod", "aac")),
}
every_format = pytest.mark.parametrize("sound", FORMATS.values(), ids=FORMATS)


def plain_id3(size: int, fill: bytes) -> bytes:
    """An ID3 tag whose size has eight bits in each byte, as some programs write it."""
    return b"ID3\x03\0\0" + struct.pack(">I", size) + fill * size


def ape_tag(size: int) -> bytes:
    """An APEv2 tag that stands in front, with header and footer."""
    edge = struct.pack("<8sIII", b"APETAGEX", 2000, size + 32, 1)
    return (
        edge + struct.pack("<I8x", 0xA000_0000) + b"x" * size + edge + struct.pack("<I8x", 1 << 31)
    )


IN_FRONT = {
    "20 KB of zeros": bytes(20_000),
    "3 MB of zeros": bytes(3_000_000),
    "a plain ID3 size": plain_id3(60_000, b"\0"),
    "a plain ID3 size that could be right": plain_id3(0x7F7F, b"x"),
    "an APE tag": ape_tag(300),
    "an APE tag of 200 KB": ape_tag(200_000),
    "the header of a download": b"HTTP/1.1 200 OK\r\nContent-Type: audio/x\r\n\r\n",
    "30 KB of junk": random.Random(1).randbytes(30_000),
    "100 KB of junk": random.Random(2).randbytes(100_000),
}

PROBED = {
    "adx": Recipe("adx", "adpcm_adx", 16_000, "mono"),
    "ast": Recipe("ast", "pcm_s16be_planar", 22_050, "mono"),
    "smaf": Recipe("mmf", "adpcm_yamaha", 8_000, "mono"),
    "spdif": Recipe("spdif", "ac3", 48_000),
    "wtv": Recipe("wtv", "mp2", 48_000),
    "swf": Recipe("swf", "libmp3lame"),
}
TAGLESS = {
    "wav": Recipe("wav", "pcm_s16le"),
    "aiff": Recipe("aiff", "pcm_s16be"),
    "caf": Recipe("caf", "pcm_s16be"),
    "au": Recipe("au", "pcm_s16be"),
    "m4a": Recipe("ipod", "aac"),
    "avi": Recipe("avi", "libmp3lame"),
    "ogg": Recipe("ogg", "libopus", 48_000),
    "matroska": Recipe("matroska", "flac"),
    "real media": Recipe("rm", "ac3", 48_000),
    "voc": Recipe("voc", "pcm_u8", 11_025, "mono"),
}
SIGNED = {
    "sox": Recipe("sox", "pcm_s32le", 16_000),
    "ircam": Recipe("ircam", "pcm_s16le"),
    "nut": Recipe("nut", "flac"),
    "3gp": Recipe("3gp", "aac"),
    "3g2": Recipe("3g2", "aac"),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[TranscoderPool]:
    with TranscoderPool(1, OpusSettings(), MediaLimits()) as pool:
        yield pool


def read(pool: TranscoderPool, media: bytes) -> tuple[Transcoded, bytes]:
    """Transcode as the consumer does, which leaves to the child what has no signature."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(media)
        facts = pool.transcode(source, sniff(source).demuxer, output)
        return facts, output.read()


def is_probed(facts: Transcoded) -> bool:
    return any(note.code is NoteCode.FORMAT_PROBED for note in facts.notes)


@every_format
@pytest.mark.parametrize("front", IN_FRONT.values(), ids=IN_FRONT)
def test_sound_is_found_behind_what_stands_in_front(
    pool: TranscoderPool, front: bytes, sound: bytes
) -> None:
    facts, opus = read(pool, front + sound)

    assert facts.duration == pytest.approx(SECONDS, abs=PADDING_SECONDS)
    assert dbfs(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=0.8)
    assert is_probed(facts) or sniff(io.BytesIO(front + sound)).kind == "audio"
    assert not any(note.is_loss for note in facts.notes)


@pytest.mark.parametrize("recipe", TAGLESS.values(), ids=TAGLESS)
def test_sound_is_found_behind_a_tag_that_its_format_does_not_have(
    pool: TranscoderPool, recipe: Recipe
) -> None:
    facts, opus = read(pool, id3(300) + made(recipe))

    assert facts.duration == pytest.approx(SECONDS, abs=PADDING_SECONDS)
    assert dbfs(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=1)
    assert not any(note.is_loss for note in facts.notes)


@pytest.mark.parametrize("recipe", PROBED.values(), ids=PROBED)
def test_rare_formats_are_probed(pool: TranscoderPool, recipe: Recipe) -> None:
    media = made(recipe)
    assert sniff(io.BytesIO(media)).kind == "unknown"

    facts, opus = read(pool, media)

    assert is_probed(facts)
    assert facts.duration == pytest.approx(SECONDS, abs=PADDING_SECONDS)
    assert dbfs(decoded(opus)) == pytest.approx(LEVEL_DBFS, abs=1)


@pytest.mark.parametrize("recipe", SIGNED.values(), ids=SIGNED)
def test_further_formats_have_signatures(pool: TranscoderPool, recipe: Recipe) -> None:
    facts, _ = read(pool, made(recipe))
    assert facts.duration == pytest.approx(SECONDS, abs=PADDING_SECONDS)
    assert not is_probed(facts)


def test_pvf_is_read(pool: TranscoderPool) -> None:
    samples = (voice() * 32767).astype(">i2").tobytes()
    facts, _ = read(pool, b"PVF1\n1 16000 16\n" + samples)
    assert (facts.codec, facts.duration) == ("pcm_s16be", SECONDS)


def test_a_fragmented_stream_without_a_file_type_is_read(pool: TranscoderPool) -> None:
    media = made(Recipe("mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}))
    size = int.from_bytes(media[:4], "big")
    segment_type = media[:4] + b"styp" + media[8:size]

    facts, _ = read(pool, segment_type + media[size:])

    assert facts.duration == pytest.approx(SECONDS, abs=PADDING_SECONDS)


NO_SOUND = {
    "zeros": bytes(200_000),
    "HLS": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "DASH": b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
    "SDP": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n",
    "subtitles": b"1\n00:00:00,000 --> 00:00:02,000\nHello\n\n" * 10,
    "subtitles for a player": b"[Script Info]\nTitle: x\n\n[Events]\n" * 10,
    "binaural beats": b"-SE\n" + b"NowOn: 100+10/10\n" * 10,
    "an image": b"P6\n64 64\n255\n" + bytes(range(256)) * 48,
    "a JPEG image": b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + bytes(1000),
    "raw PCM": (voice() * 32767).astype("<i2").tobytes(),
    "a program": Path(sys.executable).resolve().read_bytes()[:4_000_000],
    "a type's name in a program": b"\x7fELF" + bytes(range(256)) * 40 + b"isomftypqt  \0" * 3,
}


@pytest.mark.parametrize("media", NO_SOUND.values(), ids=NO_SOUND)
def test_nothing_else_is_taken_for_sound(pool: TranscoderPool, media: bytes) -> None:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(media)
        with pytest.raises(UnknownFormatError):
            pool.transcode(source, None, output)


def test_random_bytes_are_never_sound_and_cost_no_child(pool: TranscoderPool) -> None:
    chance = random.Random(3)
    read(pool, MP3)
    before = pool.pids()
    for size in (1, 10, 1000, 60_000, 300_000, 2_000_000) * 4:
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
            source.write(chance.randbytes(size))
            with pytest.raises(UnknownFormatError):
                pool.transcode(source, None, output)
            assert os.fstat(output.fileno()).st_size == 0
    assert pool.pids() == before


@pytest.mark.parametrize("broken", [FORMATS["m4a"][:600], FORMATS["ogg"][:60]], ids=["m4a", "ogg"])
def test_what_was_found_and_cannot_be_decoded_says_so(pool: TranscoderPool, broken: bytes) -> None:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(bytes(range(256)) * 20 + broken)
        with pytest.raises(BadAudioError, match=r"^not a known audio format; read as an "):
            pool.transcode(source, None, output)


def test_no_demuxer_follows_references_or_lacks_a_header() -> None:
    dangerous = {"concat", "dash", "hls", "image2", "rtp", "rtsp", "sdp", "vobsub", "webm_dash"}
    headerless = {"s16le", "mulaw", "alaw", "g722", "g729", "data", "sln", "dfpwm", "sbc", "aptx"}
    assert not PROBED_DEMUXERS & (dangerous | headerless)
