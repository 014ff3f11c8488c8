"""Passages for a reviewer to hear, cut from recordings that the project's own transcoder made."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.audio.clip import Clip, cut_clip
from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.pool import TranscoderPool
from consumers.errors import BadAudioError, PermanentError
from tests.harness.samples.sounds import (
    Recipe,
    Signal,
    dbfs,
    decoded,
    made,
    multichannel,
    transcoded,
    voice,
    wav,
)

pytestmark = pytest.mark.sound

REPOSITORY = Path(__file__).parents[2]
SPOKEN = ("river.mp3", "railway.wav", "appointment.mp3", "weather.mp3")
RATE = 16_000
HOUR = 3600
#: Samples of the fades that are made when nothing else is said.
FADE = round(0.2 * RATE)
#: Samples at 48 kHz that libopus is behind; its packets' times begin before zero.
LOOKAHEAD = 312
MIB = 1 << 20


@pytest.fixture(scope="module")
def pool() -> Iterator[TranscoderPool]:
    with TranscoderPool(1, OpusSettings(), MediaLimits()) as pool:
        yield pool


@pytest.fixture(scope="module")
def speech() -> Signal:
    """Some twenty seconds of speech: the sample's sentences, one after the other."""
    with tarfile.open(REPOSITORY / "ops" / "sample" / "sample.tar") as archive:
        files = [archive.extractfile(m) for m in archive if m.name.endswith(SPOKEN)]
        return np.concatenate([played(file.read()) for file in files if file is not None])


@pytest.fixture(scope="module")
def opus(pool: TranscoderPool, speech: Signal) -> bytes:
    """The same as it lies in the store."""
    return transcoded(pool, wav(speech))[1]


@pytest.fixture(scope="module")
def hum(pool: TranscoderPool) -> bytes:
    """Eight seconds that are everywhere equally loud."""
    time = np.arange(8 * RATE) / RATE
    return transcoded(pool, wav((0.2 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)))[1]


@pytest.fixture(scope="module")
def ten_hours(opus: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten hours, in which the speech begins with hour nine; the rest is one vowel."""
    minute = made(
        Recipe("ogg", "libopus", RATE, "mono", 24_000, codec_options={"frame_duration": "60"}),
        voice(60),
    )
    vowel = packets(minute)[:1000]
    between = packets(opus)
    after = HOUR * 50 // 3 - -(-len(between) // 3)
    path = tmp_path_factory.mktemp("long") / "ten hours.opus"
    with (
        av.open(io.BytesIO(opus)) as template,
        av.open(path, "w", format="ogg") as container,
    ):
        stream = container.add_stream_from_template(template.streams.audio[0])
        position = -LOOKAHEAD
        for data, duration in itertools.chain(
            itertools.chain.from_iterable(itertools.repeat(vowel, 9 * 60)),
            between,
            itertools.islice(itertools.cycle(vowel), after),
        ):
            packet = av.Packet(data)
            packet.pts = packet.dts = position
            packet.duration = duration
            packet.time_base = Fraction(1, 48_000)
            packet.stream = stream
            container.mux(packet)
            position += duration
    return path


def packets(opus: bytes) -> list[tuple[bytes, int]]:
    """Its packets, each with its length in samples at 48 kHz."""
    with av.open(io.BytesIO(opus), "r") as container:
        return [(bytes(p), p.duration or 0) for p in container.demux(audio=0) if p.size]


def played(media: bytes) -> Signal:
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(io.BytesIO(media), "r") as container:
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in (*frames, *resampler.resample(None))])


def clip_of(opus: bytes, start: float, end: float, margin: float = 3, fade: float = 0.2) -> Clip:
    return cut_clip(io.BytesIO(opus), start=start, end=end, margin=margin, fade=fade)


def place(part: Signal, whole: Signal) -> tuple[float, float]:
    """Where in a sound another one fits best, in seconds, and how well (correlation)."""
    size = len(part) + len(whole)
    products = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size)), size)
    best = int(np.argmax(products[: len(whole)]))
    there = whole[best : best + len(part)]
    return best / RATE, float(np.corrcoef(there, part[: len(there)])[0, 1])


@pytest.fixture(scope="module")
def two_people() -> bytes:
    """A hum in the first channel, another one in the second, each for half of the time."""
    time = np.arange(8 * RATE) / RATE
    low, high = (0.4 * np.sin(2 * np.pi * pitch * time) for pitch in (300, 700))
    low[4 * RATE :] = high[: 4 * RATE] = 0
    return multichannel([low.astype(np.float32), high.astype(np.float32)])


def pitches(sound: Signal) -> set[int]:
    """Which of the two hums are in a sound, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound))
    level = {pitch: spectrum[round(pitch * len(sound) / RATE)] for pitch in (300, 700)}
    return {pitch for pitch, height in level.items() if height > 0.05 * len(sound)}


@pytest.mark.parametrize(
    ("channel", "heard"), [(None, {300, 700}), (1, {300}), (2, {700}), (3, {300, 700})]
)
def test_a_clip_is_of_its_channel_or_of_all_of_them(
    two_people: bytes, channel: int | None, heard: set[int]
) -> None:
    clip = cut_clip(io.BytesIO(two_people), start=3, end=5, margin=1, channel=channel)
    assert (clip.start, clip.end) == (2, 6)
    assert pitches(decoded(clip.data)) == heard


def test_voices_in_a_mixed_clip_keep_their_levels(two_people: bytes) -> None:
    mixed = decoded(cut_clip(io.BytesIO(two_people), start=1, end=3, margin=0, fade=0).data)
    alone = decoded(
        cut_clip(io.BytesIO(two_people), start=1, end=3, margin=0, fade=0, channel=1).data
    )
    assert dbfs(mixed) == pytest.approx(dbfs(alone), abs=0.5)


@pytest.mark.parametrize("number", [2, 4, 8])
def test_a_mix_of_loud_channels_does_not_overload(number: int) -> None:
    loud = voice(3, level_dbfs=-9)
    opus = multichannel([loud] * number)
    clip = cut_clip(io.BytesIO(opus), start=0, end=3, margin=0, fade=0)
    # What is cut off at full scale is louder than what just reaches it.
    most = dbfs(loud / np.abs(loud).max())
    assert most - 2 < dbfs(decoded(clip.data)) < most + 0.5


@pytest.fixture(scope="module")
def codec_likeness(opus: bytes, speech: Signal) -> float:
    """How well speech survives being coded once: its correlation with what it was."""
    return float(np.corrcoef(decoded(opus), speech)[0, 1])


@pytest.mark.parametrize("start", [3.0, 4.321, 7.77, 11.5, 13.05])
def test_a_clip_is_the_passage_with_its_margins(
    opus: bytes, speech: Signal, codec_likeness: float, start: float
) -> None:
    clip = clip_of(opus, start, start + 2.5, margin=1.5)

    assert (clip.start, clip.end) == pytest.approx((start - 1.5, start + 4))
    sound = decoded(clip.data)
    assert len(sound) == round((clip.end - clip.start) * RATE)
    assert place(sound, speech)[0] == pytest.approx(clip.start, abs=0.02)
    where, likeness = place(sound[FADE:-FADE], decoded(opus))
    assert where == pytest.approx(clip.start + FADE / RATE, abs=0.001)
    assert likeness > codec_likeness - 0.02


def test_decoding_after_a_seek_equals_decoding_from_the_start(opus: bytes) -> None:
    whole = decoded(clip_of(opus, 0, 60, margin=0, fade=0).data)
    part = clip_of(opus, 9, 12, margin=0, fade=0)

    where, likeness = place(decoded(part.data), whole)

    assert where == pytest.approx(9, abs=0.001)
    assert likeness > 0.98


def test_margins_are_held_within_the_recording(opus: bytes, speech: Signal) -> None:
    duration = len(speech) / RATE
    first, last = clip_of(opus, 1, 2), clip_of(opus, duration - 1, duration)

    assert (first.start, first.end) == (0, 5)
    assert (last.start, last.end) == pytest.approx((duration - 4, duration), abs=0.01)
    assert place(decoded(first.data), speech)[0] == pytest.approx(0, abs=0.02)
    assert place(decoded(last.data), speech)[0] == pytest.approx(last.start, abs=0.02)


def test_a_passage_that_goes_beyond_the_end_ends_with_the_recording(
    opus: bytes, speech: Signal
) -> None:
    clip = clip_of(opus, 10, 1000)

    assert clip.end == pytest.approx(len(speech) / RATE, abs=0.01)
    assert len(decoded(clip.data)) == round((clip.end - clip.start) * RATE)


def test_a_clip_fades_in_and_out(hum: bytes) -> None:
    faded, plain = (decoded(clip_of(hum, 3, 5, 1, fade).data) for fade in (0.5, 0))

    for hundredth, quieter in ((0, 30), (10, 10), (25, 4), (40, 1)):
        at = hundredth * RATE // 100
        for now, then in ((faded, plain), (faded[::-1], plain[::-1])):
            piece = slice(at, at + RATE // 100)
            assert dbfs(then[piece]) - dbfs(now[piece]) > quieter
    middle = slice(RATE, 3 * RATE)
    assert dbfs(faded[middle]) == pytest.approx(dbfs(plain[middle]), abs=0.2)


def test_fades_share_a_clip_that_is_too_short_for_both(hum: bytes) -> None:
    sound = decoded(clip_of(hum, 2, 2.6, margin=0, fade=60).data)

    third = len(sound) // 3
    assert dbfs(sound[third : 2 * third]) > dbfs(sound[:third]) + 3
    assert dbfs(sound[third : 2 * third]) > dbfs(sound[-third:]) + 3


@pytest.mark.parametrize("at", [0, 1.2345, 8])
def test_a_passage_without_length_can_still_be_heard(hum: bytes, at: float) -> None:
    clip = clip_of(hum, at, at, margin=0)
    assert clip.end - clip.start == pytest.approx(0.1, abs=0.01)
    assert len(decoded(clip.data)) == round((clip.end - clip.start) * RATE)


def test_the_same_sound_gives_the_same_bytes(opus: bytes) -> None:
    assert clip_of(opus, 5, 6) == clip_of(opus, 5, 6)


def test_a_clip_is_ogg_opus_at_24_kbit_s(opus: bytes) -> None:
    clip = clip_of(opus, 4, 12)

    with av.open(io.BytesIO(clip.data), format="ogg") as container:
        context = container.streams.audio[0].codec_context
        assert (context.name, context.layout.name) == ("opus", "mono")
    assert len(clip.data) * 8 / (clip.end - clip.start) == pytest.approx(24_000, rel=0.25)


def test_the_long_recording_is_one(ten_hours: Path) -> None:
    with av.open(ten_hours) as container:
        assert container.duration == pytest.approx(10 * HOUR * 1_000_000, rel=0.001)


class Counted(io.FileIO):
    """A file that counts what is read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.count += len(data)
        return data


def test_hour_nine_is_sought_and_not_decoded_up_to(
    ten_hours: Path, opus: bytes, codec_likeness: float
) -> None:
    with Counted(ten_hours) as file:
        clip = cut_clip(file, start=9 * HOUR + 6, end=9 * HOUR + 9, margin=3)

    assert ten_hours.stat().st_size > 80 * MIB
    # Headers, the end, and a search by halves for the place.
    assert file.count < 4 * MIB
    assert (clip.start, clip.end) == (9 * HOUR + 3, 9 * HOUR + 12)
    where, likeness = place(decoded(clip.data)[FADE:-FADE], decoded(opus))
    assert where == pytest.approx(3 + FADE / RATE, abs=0.001)
    assert likeness > codec_likeness - 0.02


CUT_AND_MEASURE = """
import resource, sys
from consumers.audio.clip import cut_clip
peaks = []
for path, start in ((sys.argv[1], 6), (sys.argv[2], 9 * 3600 + 6)):
    with open(path, "rb") as file:
        cut_clip(file, start=start, end=start + 3, margin=3)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


def test_ten_hours_take_no_more_memory_than_twenty_seconds(
    ten_hours: Path, opus: bytes, tmp_path: Path
) -> None:
    short = tmp_path / "short.opus"
    short.write_bytes(opus)

    more = run(CUT_AND_MEASURE, str(short), str(ten_hours))

    assert int(more) < 8 * 1024, f"{more} KiB more"


def test_no_ffmpeg_program_is_needed(hum: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hum.opus"
    path.write_bytes(hum)
    program = "from consumers.audio.clip import cut_clip; import sys\n"
    program += "print(len(cut_clip(open(sys.argv[1], 'rb'), start=1, end=2, margin=1).data))"
    assert int(run(program, str(path))) > 1000


def run(program: str, *arguments: str) -> str:
    """Run Python where there is no other program."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={"PATH": ""}, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_a_passage_beyond_the_end_is_refused_in_words(hum: bytes) -> None:
    with pytest.raises(PermanentError, match=r"no sound at 30\.000 s: .* ends at 8\.0") as refused:
        clip_of(hum, 30, 31)
    assert not isinstance(refused.value, BadAudioError)


@pytest.mark.parametrize(
    ("start", "end", "margin"),
    [(2, 1, 0), (-1, 1, 0), (0, 1, -1), (float("nan"), 1, 0), (0, float("inf"), 0)],
)
def test_an_invalid_interval_is_an_error(
    hum: bytes, start: float, end: float, margin: float
) -> None:
    with pytest.raises(ValueError, match="invalid passage"):
        clip_of(hum, start, end, margin)


@pytest.mark.parametrize(
    "media",
    [b"", b"no sound at all" * 100, made(Recipe("flac", "flac")), made(Recipe("ogg", "flac"))],
    ids=["empty", "text", "flac", "flac in ogg"],
)
def test_files_other_than_ogg_opus_are_refused(media: bytes) -> None:
    with pytest.raises(BadAudioError):
        clip_of(media, 0, 1)


def test_an_object_with_a_hole_is_damaged(opus: bytes) -> None:
    middle = len(opus) // 2
    damaged = opus[:middle] + bytes(4000) + opus[middle + 4000 :]

    with pytest.raises(BadAudioError, match="gap at"):
        clip_of(damaged, 5, 15)
    assert clip_of(damaged, 0, 1).end == 4


@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 1), junk=st.binary(max_size=60), at=st.floats(0, 10))
def test_damage_is_refused_or_cut_over_and_nothing_else(
    hum: bytes, where: float, junk: bytes, at: float
) -> None:
    offset = round(where * len(hum))
    damaged = hum[:offset] + junk + hum[offset + len(junk) :]
    try:
        clip = clip_of(damaged, at, at + 1, margin=1)
    except PermanentError:
        return
    assert 0 <= clip.start < clip.end
    assert len(decoded(clip.data)) == round((clip.end - clip.start) * RATE)


@settings(max_examples=60, deadline=None)
@given(length=st.floats(0, 1), at=st.floats(0, 8))
def test_an_object_that_is_cut_off_is_refused_or_cut_as_far_as_it_goes(
    hum: bytes, length: float, at: float
) -> None:
    try:
        clip = clip_of(hum[: round(length * len(hum))], at, at + 1, margin=1)
    except PermanentError:
        return
    assert clip.start == pytest.approx(max(0, at - 1), abs=0.001)
    assert len(decoded(clip.data)) == round((clip.end - clip.start) * RATE)
