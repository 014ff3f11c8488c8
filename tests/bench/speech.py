"""`speech-short`, `speech-long`, `speech-limit`: from decoded sound to words.

Everyone recognises the same samples with the same weights (Whisper tiny.en, which a
package carries), beam, batch size and threads. Nobody aligns: no alignment model
comes in a package. easytranscriber is not here for that reason: it can't do without.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from consumers.audio.decode import decode_channels
from consumers.documents.transcript import Transcript
from consumers.errors import ConfigurationError
from consumers.speech.recogniser import Waveform
from consumers.speech.weights import PACKAGED
from consumers.speech.whisper import WhisperXRecogniser
from tests.bench.benchmark import (
    Conditions,
    DisagreementError,
    Goal,
    PreparedBenchmark,
    benchmark,
)
from tests.bench.clips import SpeechSample, opus_clips, opus_recording
from tests.bench.speech_peers import BATCH, Limit, Peers, Texts
from tests.bench.timing import timed_case

#: Recordings of a group (``TRANSCRIBE_GROUP``'s default).
_GROUP = 32

_PACKAGES = ("whisperx", "faster-whisper", "ctranslate2", "torch", "pyannote-audio", "jiwer")

_OURS, _PER_FILE, _COMMAND = "dropscribe", "WhisperX per file", "WhisperX's command line"
_BATCHED = "faster-whisper batched"
_FULL, _SIDE_BY_SIDE = "CTranslate2, full batches", "CTranslate2, portions side by side"


class _Ours:
    """The recogniser of the route ``transcribe``, with its defaults."""

    def __init__(self, clips: Sequence[SpeechSample], conditions: Conditions) -> None:
        self._clips = clips
        self._waveforms = [Waveform(clip.name, clip.samples) for clip in clips]
        self._recogniser = WhisperXRecogniser(
            PACKAGED,
            conditions.folder,
            device=conditions.device,
            batch_size=BATCH,
            threads=threads(),
        )

    def transcripts(self) -> list[Transcript]:
        """Hear everything, a group at a time.

        Raises:
            DisagreementError: A recording could not be transcribed.
        """
        found = []
        for begin in range(0, len(self._waveforms), _GROUP):
            for outcome in self._recogniser.transcribe(self._waveforms[begin : begin + _GROUP]):
                if not isinstance(outcome, Transcript):
                    raise DisagreementError(str(outcome))
                found.append(outcome)
        return found

    def texts(self) -> Texts:
        """The text of each clip."""
        return [transcript.text for transcript in self.transcripts()]

    def facts(self, _: Texts) -> Mapping[str, float]:
        """Time the decoding, which is no part of the measurement."""
        begin = time.perf_counter()
        for clip in self._clips:
            decode_channels(io.BytesIO(clip.opus))
        return {"Opus decoding, s": time.perf_counter() - begin}


def threads() -> int:
    """The number of threads of each recogniser."""
    return len(os.sched_getaffinity(0))


def _beside_peers(
    clips: Sequence[SpeechSample], goals: Mapping[str, float], conditions: Conditions
) -> Iterator[PreparedBenchmark]:
    ours = _Ours(clips, conditions)
    peers = Peers(clips, conditions, threads())
    case = partial(timed_case, device=conditions.device)
    least = goals[conditions.device]
    yield PreparedBenchmark(
        "s",
        [
            case(_OURS, ours.texts, facts=ours.facts),
            case(_PER_FILE, peers.whisperx_per_file),
            case(_COMMAND, peers.whisperx_command),
            case(_BATCHED, peers.faster_whisper),
        ],
        [Goal(of=peer, to=_OURS, limit=least) for peer in (_PER_FILE, _COMMAND, _BATCHED)],
        partial(compare_words, [clip.words for clip in clips], _OURS),
        _PACKAGES,
    )


@benchmark(
    "speech-limit", "the clips of speech-short, beside the model alone with features that lie ready"
)
def speech_limit(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    clips = opus_clips(conditions.scaled(200))
    ours = _Ours(clips, conditions)
    windows = [
        (number, clips[number].samples, segment.start, segment.end)
        for number, transcript in enumerate(ours.transcripts())
        for segment in transcript.segments
    ]
    if not windows:
        raise ConfigurationError("no speech was found in the clips")
    full = Limit(windows, len(clips), conditions, threads=threads(), side_by_side=False)
    side_by_side = Limit(windows, len(clips), conditions, threads=threads(), side_by_side=True)
    case = partial(timed_case, device=conditions.device)
    yield PreparedBenchmark(
        "s",
        [
            case(_OURS, ours.texts, facts=ours.facts),
            case(_FULL, full.texts),
            case(_SIDE_BY_SIDE, side_by_side.texts),
        ],
        [
            Goal(of=_FULL, to=_OURS, limit=0.9 if conditions.device == "cuda" else 0.85),
            Goal(of=_SIDE_BY_SIDE, to=_OURS),
        ],
        partial(compare_words, [clip.words for clip in clips], _OURS),
        _PACKAGES,
    )


@benchmark("speech-short", "200 clips of 2 to 15 s, beside WhisperX and faster-whisper")
def speech_short(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    return _beside_peers(opus_clips(conditions.scaled(200)), {"cpu": 1.5, "cuda": 4.0}, conditions)


@benchmark("speech-long", "a recording of 1 h, beside the same")
def speech_long(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    recording = opus_recording(3600 * conditions.scale)
    return _beside_peers([recording], {"cpu": 1.0, "cuda": 1.0}, conditions)


#: By how much more of the words may be wrong than with the best of the others.
_WORSE = 0.005


def compare_words(
    said: Sequence[str], ours: str, outputs: Mapping[str, Sequence[str]]
) -> Mapping[str, float]:
    """Compare all transcripts with the spoken text, and with ours.

    Args:
        outputs: The transcripts of the clips, by the case's name.

    Raises:
        DisagreementError: More of our words are wrong than of another's.
    """
    wrong = {name: word_error_rate(said, texts) for name, texts in outputs.items()}
    best = min(rate for name, rate in wrong.items() if name != ours)
    if wrong[ours] > best + _WORSE:
        raise DisagreementError(
            f"{wrong[ours]:.2%} of {ours}'s words are wrong, and {best:.2%} of the best of others"
        )
    told = {f"word error rate, {name}": rate for name, rate in wrong.items()}
    for name, texts in outputs.items():
        if name != ours:
            told[f"words unlike {ours}'s, {name}"] = word_error_rate(outputs[ours], texts)
    return told


def word_error_rate(said: Sequence[str], recognised: Sequence[str]) -> float:
    """Give the word error rate over all clips, capitals and punctuation aside."""
    jiwer: Any = import_module("jiwer")
    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip()])
    return float(jiwer.wer(plain(list(said)), plain(list(recognised))))
