"""Recordings with several voices on several channels, from the archive to the review item."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from consumers.audio.decode import count_channels
from consumers.documents.note import NoteCode
from consumers.documents.transcript import Segment, Transcript
from consumers.errors import PermanentError, TransientError
from consumers.speech.recogniser import Recognition, Waveform
from events.keys import AudioId, BatchId
from ops.wiring.adapters import Adapters
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from tests.harness.deployment.stand_ins import LengthRecogniser
from tests.harness.samples.archives import tar_of
from tests.harness.samples.sounds import Signal, dbfs, multichannel, stereo, voice, wav
from tests.integration.conftest import Pipeline
from tests.integration.test_pipeline import event_for
from tests.samples import archive

RATE = 16_000
SECONDS = 12


def person(turns: Sequence[tuple[float, float]], level_dbfs: float = -20.0) -> Signal:
    """A voice that rests except in its turns."""
    random = np.random.default_rng(int(turns[0][0] * 10))
    sound = random.standard_normal(SECONDS * RATE).astype(np.float32)
    sound *= voice(SECONDS, level_dbfs=level_dbfs)
    heard = np.zeros_like(sound)
    for start, end in turns:
        heard[int(start * RATE) : int(end * RATE)] = sound[int(start * RATE) : int(end * RATE)]
    return heard


ANNA = person([(0, 3), (6, 9)])
BEN = person([(3, 6), (9, 12)], level_dbfs=-26)


class LevelRecogniser(LengthRecogniser):
    """Says at which level it hears each recording; fails as it is told."""

    def __init__(self, fails: dict[str, Exception] | None = None) -> None:
        super().__init__()
        self._fails = fails or {}
        self.seconds: list[float] = []

    def transcribe(self, group: Sequence[Waveform]) -> Sequence[Recognition]:
        """Give one outcome per channel, in the group's order."""
        self.seconds.append(sum(waveform.duration for waveform in group))
        return super().transcribe(group)

    def _outcome(self, waveform: Waveform) -> Recognition:
        for name, error in self._fails.items():
            if name in waveform.audio_id:
                assert isinstance(error, PermanentError | TransientError)
                return error
        outcome = super()._outcome(waveform)
        assert isinstance(outcome, Transcript)
        level = round(dbfs(waveform.samples))
        segment = Segment(0.0, 2.0, f"heard at {level}", None, ())
        return replace(outcome, segments=(segment,))


def transcribed(pipeline: Pipeline, batch: BatchId) -> Transcript:
    audio = AudioId(batch, 0)
    assert pipeline.transcribe().handle([event_for(pipeline, audio.opus_key)]) == [None]
    return Transcript.from_json(pipeline.store.read(audio.transcript_key))


def unpacked(pipeline: Pipeline, tmp_path: Path, *recordings: bytes) -> BatchId:
    members = {f"{n}.wav": recording for n, recording in enumerate(recordings)}
    batch = pipeline.drop(archive(tmp_path, tar_of(members)))
    assert pipeline.unpack().handle([event_for(pipeline, batch.archive_key)]) == [None]
    return batch


def test_two_people_on_two_channels_have_words_of_their_own(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.recogniser = LevelRecogniser()
    batch = unpacked(pipeline, tmp_path, stereo(ANNA, BEN))
    transcript = transcribed(pipeline, batch)
    audio = AudioId(batch, 0)
    assert transcript.audio_id == str(audio)
    assert transcript.duration == pytest.approx(SECONDS, abs=0.01)
    assert [each.channel for each in transcript.segments] == [1, 2]
    first, second = (int(each.text.split()[-1]) for each in transcript.segments)
    assert first - second == pytest.approx(6, abs=2)
    # Each is measured in its own channel: only the first speaks in the first seconds.
    levels = [each.loudness_dbfs for each in transcript.segments]
    assert levels[0] is not None
    assert levels[1] is not None
    assert levels[0] > -30
    assert levels[1] < -50
    # And so it is in the rows, in which people search.
    (recording,) = pipeline.database.recordings(batch)
    assert recording.text == transcript.text
    assert recording.channels == 2


@pytest.mark.parametrize("right", [ANNA, -ANNA, 0 * ANNA], ids=["dual mono", "inverted", "silent"])
def test_the_same_sound_on_two_channels_is_heard_once(
    pipeline: Pipeline, tmp_path: Path, right: Signal
) -> None:
    transcript = transcribed(pipeline, unpacked(pipeline, tmp_path, stereo(ANNA, right)))
    assert [(each.channel, each.text) for each in transcript.segments] == [
        (None, "12 seconds of sound")
    ]


def test_a_channel_that_cannot_be_recognised_is_noted_and_the_others_stay(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.recogniser = LevelRecogniser({"channel 2": PermanentError("no words fit")})
    transcript = transcribed(pipeline, unpacked(pipeline, tmp_path, stereo(ANNA, BEN)))
    assert [each.channel for each in transcript.segments] == [1]
    (note,) = [note for note in transcript.notes if note.code == NoteCode.UNHEARD_CHANNEL]
    assert note.is_loss
    assert note.text == "channel 2 could not be recognised: no words fit"


def test_a_recording_of_which_no_channel_can_be_recognised_is_rejected(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.recogniser = LevelRecogniser({"channel": PermanentError("no words fit")})
    transcript = transcribed(pipeline, unpacked(pipeline, tmp_path, stereo(ANNA, BEN)))
    assert (transcript.state, transcript.reason) == ("rejected", "no words fit")


def test_a_device_that_fails_for_one_channel_is_tried_again(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    error = TransientError("the device failed")
    pipeline.recogniser = LevelRecogniser({"channel 1": error})
    batch = unpacked(pipeline, tmp_path, stereo(ANNA, BEN))
    audio = AudioId(batch, 0)
    assert pipeline.transcribe().handle([event_for(pipeline, audio.opus_key)]) == [error]
    assert pipeline.store.head(audio.transcript_key) is None
    pipeline.recogniser = LevelRecogniser()
    assert len(transcribed(pipeline, batch).segments) == 2


def test_channels_beyond_what_memory_holds_are_heard_one_after_the_other(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.stages.transcribe.Transcribe._most", 2.5 * SECONDS)
    pipeline.recogniser = recogniser = LevelRecogniser()
    batch = unpacked(pipeline, tmp_path, stereo(ANNA, BEN), wav(BEN))
    audio = AudioId(batch, 0)
    stored = pipeline.store.head(audio.opus_key)
    assert stored is not None
    people = [person([(n, n + 3)]) for n in range(5)]
    pipeline.store.write(
        audio.opus_key,
        multichannel(people),
        content_type="audio/ogg",
        metadata=dict(stored.metadata),
    )
    keys = [AudioId(batch, ordinal).opus_key for ordinal in (0, 1)]
    events = [event_for(pipeline, key) for key in keys]
    assert pipeline.transcribe().handle(events) == [None, None]
    transcript = Transcript.from_json(pipeline.store.read(audio.transcript_key))
    assert [each.channel for each in transcript.segments] == [1, 2, 3, 4, 5]
    assert recogniser.groups == [2, 2, 1, 1]
    assert max(recogniser.seconds) <= 2.5 * SECONDS


def test_a_clip_of_a_doubtful_channel_is_of_that_channel(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.recogniser = LevelRecogniser()
    batch = unpacked(pipeline, tmp_path, stereo(ANNA, BEN))
    transcript = transcribed(pipeline, batch)
    # Ben says nothing in the first two seconds, so words there are doubtful.
    assert transcript.segments[1].loudness_dbfs is not None
    pipeline.review().handle([event_for(pipeline, batch.complete_key)])
    keys = [key for key in pipeline.store.keys(batch.prefix) if key.endswith(".clip.ogg")]
    assert [key.rpartition("-")[2] for key in keys] == ["2.clip.ogg"]
    assert count_channels(io.BytesIO(pipeline.store.read(keys[0]))) == 1


@pytest.mark.parametrize(("setting", "kept"), [("", 2), ("auto", 2), ("mix", 1), ("split", 2)])
def test_the_setting_decides_whether_channels_are_kept(
    pipeline: Pipeline, tmp_path: Path, setting: str, kept: int
) -> None:
    variables = {
        **pipeline.environment._variables,
        "SCRATCH_ROOT": str(pipeline.scratch_root),
        "UNPACK_PROCESSES": "1",
        **({"CHANNELS": setting} if setting else {}),
    }
    batch = pipeline.drop(archive(tmp_path, tar_of({"a.wav": stereo(ANNA, BEN)})))
    event = event_for(pipeline, batch.archive_key)
    unpack = PIPELINE["unpack"].open_handler(Environment(variables), Adapters(), pipeline.log)
    with unpack as handler:
        assert handler.handle([event]) == [None]
    opus = pipeline.store.read(AudioId(batch, 0).opus_key)
    assert count_channels(io.BytesIO(opus)) == kept
