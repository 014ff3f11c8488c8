"""Whisper tiny.en recognises what was said, whoever else is in the group."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumers.documents.transcript import Transcript
from consumers.errors import BadAudioError, PermanentError, TransientError
from consumers.speech.libraries import import_libraries
from consumers.speech.recogniser import SAMPLE_RATE, Recogniser, Recognition, Waveform
from consumers.speech.voice import VAD_OFFSET, VAD_ONSET, VoiceDetector
from consumers.speech.weights import PACKAGED
from consumers.speech.whisper import WhisperXRecogniser
from tests.bench.clips import opus_recording

# Words wrong of words said: one slip in all of the sample.
WORD_ERRORS = 0.05


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def word_errors(said: str, recognised: str) -> float:
    """Word error rate: the fewest insertions, deletions and changes, per word that was said."""
    row = list(range(len(words(recognised)) + 1))
    for i, expected in enumerate(words(said), 1):
        diagonal, row[0] = row[0], i
        for j, found in enumerate(words(recognised), 1):
            cost = min(row[j] + 1, row[j - 1] + 1, diagonal + (expected != found))
            diagonal, row[j] = row[j], cost
    return row[-1] / len(words(said))


def transcripts(outcomes: Sequence[Recognition]) -> list[Transcript]:
    assert all(isinstance(outcome, Transcript) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Transcript)]


def silence(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def noise(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    size = round(seconds * SAMPLE_RATE)
    return np.random.default_rng(7).normal(0, 0.1, size).astype(np.float32)


def test_word_errors_are_counted() -> None:
    assert word_errors("one two three four", "One, two three: four!") == 0
    assert word_errors("one two three four", "one three for") == 0.5
    assert word_errors("one two", "one and two and") == 1


def test_the_samples_words_are_recognised(
    recogniser: Recogniser, sample: dict[str, Waveform], script: dict[str, str]
) -> None:
    recognised = transcripts(recogniser.transcribe([sample[path] for path in script]))

    errors = word_errors(" ".join(script.values()), " ".join(one.text for one in recognised))
    assert errors <= WORD_ERRORS, [one.text for one in recognised]


def test_a_window_is_transcribed_completely(recogniser: Recogniser) -> None:
    # Of its five sentences, tiny.en by itself leaves out three, and is sure of the others.
    spoken = opus_recording(27.0)

    (recognised,) = transcripts(recogniser.transcribe([Waveform("a", spoken.samples)]))

    assert word_errors(spoken.words, recognised.text) <= WORD_ERRORS, recognised.text


def test_a_transcript_says_where_it_comes_from(
    recogniser: Recogniser, sample: dict[str, Waveform]
) -> None:
    waveform = sample["interviews/01 river.mp3"]

    (recognised,) = transcripts(recogniser.transcribe([waveform]))

    assert recognised.audio_id == waveform.audio_id
    assert recognised.state == "transcribed"
    assert recognised.duration == pytest.approx(4.9, abs=0.1)
    assert recognised.model == recogniser.name == "packaged:tiny.en"
    # The model knows English only: the language was not detected, and has no probability.
    assert (recognised.language, recognised.language_probability) == ("en", None)
    assert all(0 <= s.start < s.end <= recognised.duration for s in recognised.segments)
    assert all(s.avg_logprob is not None and -2 < s.avg_logprob < 0 for s in recognised.segments)
    assert all(s.text == s.text.strip() for s in recognised.segments)
    assert Transcript.from_json(recognised.to_json()) == recognised


def test_a_group_is_heard_as_each_of_it_alone(
    recogniser: Recogniser, sample: dict[str, Waveform]
) -> None:
    group = list(sample.values())

    together = transcripts(recogniser.transcribe(group))
    alone = transcripts([recogniser.transcribe([one])[0] for one in group])

    assert [one.audio_id for one in together] == [one.audio_id for one in group]
    assert [one.text for one in together] == [one.text for one in alone]
    times = [[(s.start, s.end) for s in one.segments] for one in together]
    assert times == [[(s.start, s.end) for s in one.segments] for one in alone]


def test_the_words_are_those_that_whisperx_finds_in_each_file(
    recogniser: Recogniser, sample: dict[str, Waveform], tiny_en: Path
) -> None:
    with warnings.catch_warnings(action="ignore"):
        whisperx = import_libraries().asr.load_model(
            str(tiny_en), "cpu", compute_type="int8", language="en", local_files_only=True
        )
        theirs = [whisperx.transcribe(one.samples, batch_size=16) for one in sample.values()]

    ours = transcripts(recogniser.transcribe(list(sample.values())))

    # WhisperX lets speech end behind the recording's end.
    assert [[(s.text, s.start, s.end) for s in one.segments] for one in ours] == [
        [(s["text"].strip(), s["start"], min(s["end"], one.duration)) for s in found["segments"]]
        for one, found in zip(ours, theirs, strict=True)
    ]


def test_batches_of_one_give_the_same_words(
    sample: dict[str, Waveform], recogniser: Recogniser, tmp_path: Path
) -> None:
    group = [sample["voicemail/café.wav"], sample["interviews/02 railway.wav"]]
    ratios: list[float] = []
    one_at_a_time = WhisperXRecogniser(
        PACKAGED, tmp_path, device="cpu", batch_size=1, on_batch=ratios.append
    )

    recognised = transcripts(one_at_a_time.transcribe(group))

    assert [one.text for one in recognised] == [
        one.text for one in transcripts(recogniser.transcribe(group))
    ]
    assert ratios == [1.0] * sum(len(one.segments) for one in recognised)


def test_a_long_recording_is_heard_to_its_end(
    recogniser: Recogniser, sample: dict[str, Waveform], script: dict[str, str]
) -> None:
    parts = [part for path in script for part in (sample[path].samples, silence(2))]
    long = Waveform("long", np.concatenate([*parts, *parts]))
    said = " ".join([*script.values(), *script.values()])

    (recognised,) = transcripts(recogniser.transcribe([long]))

    assert len(recognised.segments) > 1
    edges = [edge for segment in recognised.segments for edge in (segment.start, segment.end)]
    assert edges == sorted(edges)
    assert all(segment.end - segment.start <= 30.1 for segment in recognised.segments)
    assert word_errors(said, recognised.text) <= 2 * WORD_ERRORS, recognised.text


@pytest.fixture(scope="module")
def voice() -> Iterator[Callable[..., VoiceDetector]]:
    """Voice detection in batches of other sizes, or a recording in other parts."""
    libraries = import_libraries()
    # pyannote warns of what it was trained with.
    with ThreadPoolExecutor(2) as executor, warnings.catch_warnings(action="ignore"):
        vad = import_module("whisperx.vads.pyannote").Pyannote(
            libraries.torch.device("cpu"), vad_onset=VAD_ONSET, vad_offset=VAD_OFFSET
        )
        yield partial(VoiceDetector, vad, libraries, executor)


def test_speech_is_found_in_parts_as_in_one_go(
    voice: Callable[..., VoiceDetector], sample: dict[str, Waveform], script: dict[str, str]
) -> None:
    """Ten hours are looked at in parts; here, a minute: a part ends inside a sentence."""
    spoken = np.concatenate([sample[path].samples for path in script])
    sound = np.concatenate([silence(25), spoken, silence(25), spoken])

    (at_once,) = voice(batch_size=16).find_speech([sound])
    (in_parts,) = voice(batch_size=16, part_seconds=35).find_speech([sound])

    assert seconds_with(in_parts) == seconds_with(at_once)
    assert len(in_parts) == len(at_once)


@pytest.mark.parametrize("batch_size", [3, 256])
def test_speech_is_found_in_many_recordings_as_whisperx_finds_it_in_each(
    voice: Callable[..., VoiceDetector], sample: dict[str, Waveform], batch_size: int
) -> None:
    """Windows of five seconds, as far apart as WhisperX's: lengths of all kinds between them."""
    sounds = [one.samples for one in sample.values()]
    sounds += [
        np.concatenate([*sounds, *sounds]),
        *(sounds[0][: round(seconds * SAMPLE_RATE)] for seconds in (0.01, 4.5)),
        *(np.resize(sounds[0], round(seconds * SAMPLE_RATE)) for seconds in (5, 5.5, 5.7)),
    ]

    vad = voice.args[0]  # type: ignore[attr-defined]
    step = vad.vad_pipeline._segmentation.step
    found = voice(batch_size=batch_size, step_seconds=step).find_speech(sounds)

    assert found == [whisperx_finds(vad, sound) for sound in sounds]


@pytest.mark.parametrize("hiss", [0.0, 0.05])
def test_hardly_any_speech_is_missed(
    voice: Callable[..., VoiceDetector], sample: dict[str, Waveform], hiss: float
) -> None:
    """Windows are farther apart than WhisperX's: recordings with pauses of 1 to 7 seconds."""
    parts = [(one.samples, silence(1 + number)) for number, one in enumerate(sample.values())]
    sound = np.concatenate([samples for part in parts for samples in part])

    sound_in_noise = sound + np.resize(noise(5), sound.size) * np.float32(hiss)
    (found,) = voice(batch_size=16).find_speech([sound_in_noise])

    spoken = [tenth / 10 for tenth in loud_tenths(sound)]
    missed = [at for at in spoken if not any(start <= at <= end for start, end in found)]
    assert len(missed) <= 0.01 * len(spoken)


def loud_tenths(samples: np.ndarray[Any, np.dtype[np.float32]]) -> list[int]:
    """The tenths of a second that are at most 30 dB below the loudest."""
    size = SAMPLE_RATE // 10
    power = (samples[: len(samples) // size * size].reshape(-1, size) ** 2).mean(axis=1)
    return [int(tenth) for tenth in np.flatnonzero(power > power.max() / 1000)]


def whisperx_finds(vad: Any, samples: np.ndarray[Any, np.dtype[np.float32]]) -> list[Any]:
    """Ask WhisperX, in the way of its own ``transcribe``."""
    scores = vad({"waveform": vad.preprocess_audio(samples), "sample_rate": SAMPLE_RATE})
    merged = vad.merge_chunks(scores, 30, onset=VAD_ONSET, offset=VAD_OFFSET)
    end = len(samples) / SAMPLE_RATE
    return [(round(each["start"], 3), min(round(each["end"], 3), end)) for each in merged]


def seconds_with(stretches: list[tuple[float, float]]) -> set[int]:
    """The whole seconds in whose middle somebody speaks."""
    return {s for s in range(100) if any(start < s + 0.5 < end for start, end in stretches)}


@pytest.mark.parametrize("samples", [silence(3), noise(3), silence(0.01), silence(1 / SAMPLE_RATE)])
def test_silence_has_no_words(
    recogniser: Recogniser, samples: np.ndarray[Any, np.dtype[np.float32]]
) -> None:
    (recognised,) = transcripts(recogniser.transcribe([Waveform("quiet", samples)]))

    assert recognised.segments == ()
    assert (recognised.state, recognised.reason) == ("transcribed", "no speech found")


def test_bad_recordings_do_not_cost_their_group(
    recogniser: Recogniser, sample: dict[str, Waveform], script: dict[str, str]
) -> None:
    good = sample["interviews/02 railway.wav"]
    holed = good.samples.copy()
    holed[1000] = np.nan
    group = [
        Waveform("empty", np.zeros(0, np.float32)),
        Waveform("holed", holed),
        good,
        Waveform("short", silence(0.01)),
        Waveform("infinite", np.full(SAMPLE_RATE, np.inf, np.float32)),
        Waveform("stereo", np.zeros((2, SAMPLE_RATE), np.float32)),
    ]

    empty, with_nan, recognised, short, infinite, stereo = recogniser.transcribe(group)

    assert isinstance(recognised, Transcript)
    assert word_errors(script[good.audio_id], recognised.text) <= WORD_ERRORS
    assert isinstance(short, Transcript)
    for error, name in [(empty, "empty"), (with_nan, "holed"), (infinite, "inf"), (stereo, "ster")]:
        assert isinstance(error, BadAudioError)
        assert str(error).startswith(name)


class Torn(np.ndarray[Any, np.dtype[np.float32]]):
    """Samples that can be read once, for voice detection, and fail in the batch."""

    error: Exception | None = None
    was_read = False

    def __getitem__(self, key: Any) -> Any:
        if self.was_read and self.error:
            raise self.error
        self.was_read = True
        return super().__getitem__(key)


def torn(waveform: Waveform, error: Exception) -> Waveform:
    samples = waveform.samples.copy().view(Torn)
    samples.error = error
    return Waveform("torn", samples)


def test_a_failure_in_a_batch_costs_one_recording(
    recogniser: Recogniser, sample: dict[str, Waveform], script: dict[str, str]
) -> None:
    first, last = sample["interviews/02 railway.wav"], sample["voicemail/café.wav"]
    bad = torn(first, OSError("stale file handle"))

    before, error, after = recogniser.transcribe([first, bad, last])

    assert isinstance(before, Transcript)
    assert word_errors(script[first.audio_id], before.text) <= WORD_ERRORS
    assert isinstance(after, Transcript)
    assert word_errors(script[last.audio_id], after.text) <= WORD_ERRORS
    assert isinstance(error, PermanentError)
    assert str(error) == "torn cannot be recognised: OSError: stale file handle"


def test_a_failure_in_voice_detection_costs_one_recording(
    recogniser: Recogniser, sample: dict[str, Waveform]
) -> None:
    good = sample["voicemail/café.wav"]
    bad = torn(good, OSError("stale file handle"))
    bad.samples[:0]  # Was read: the next time fails.

    recognised, error = recogniser.transcribe([good, bad])

    assert isinstance(recognised, Transcript)
    assert isinstance(error, PermanentError)
    assert str(error) == "torn cannot be recognised: OSError: stale file handle"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_a_temporary_error(
    recogniser: Recogniser, sample: dict[str, Waveform], error: Exception
) -> None:
    good = sample["voicemail/café.wav"]

    outcomes = recogniser.transcribe([good, torn(good, error)])

    assert len(outcomes) == 2
    assert all(isinstance(outcome, TransientError) for outcome in outcomes)


LOUD = """
import os, socket
from pathlib import Path
import numpy as np
def connect(self, address):
    os._exit(3)
socket.socket.connect = connect
from consumers.speech.recogniser import Waveform
from consumers.speech.whisper import WhisperXRecogniser
recogniser = WhisperXRecogniser("packaged:tiny.en", Path("nowhere"), device="cpu")
noise = np.random.default_rng(7).normal(0, 0.1, 16_000).astype(np.float32)
recogniser.transcribe([Waveform("noise", noise)])
from pyannote.audio.telemetry.metrics import is_metrics_enabled
assert not is_metrics_enabled()
"""

MISSING = """
import sys
from pathlib import Path
sys.modules["whisperx"] = None  # an import of it fails, as where it is not installed
import consumers.speech
from consumers.speech.weights import SpeechSetupError
from consumers.speech.whisper import WhisperXRecogniser
try:
    WhisperXRecogniser("packaged:tiny.en", Path("nowhere"))
except SpeechSetupError as error:
    print(error)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )


def test_a_fresh_process_stays_quiet_and_off_the_network() -> None:
    done = run(LOUD)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_whisperx_it_names_the_package() -> None:
    done = run(MISSING)

    assert "pip install '.[speech]'" in done.stdout
    assert done.stderr == ""
