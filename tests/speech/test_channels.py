"""People on channels of their own, from the archive to captions, by real WhisperX."""

from __future__ import annotations

import io
import json
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consumers.documents.note import NoteCode
from consumers.documents.transcript import Transcript
from consumers.speech.recogniser import Waveform
from consumers.speech.transcriber import WindowText
from consumers.speech.whisper import WhisperXRecogniser
from tests.harness.samples.archives import tar_of
from tests.speech.conftest import decoded
from tests.speech.dropscribe import leftovers, run
from tests.speech.test_recognition import word_errors

RATE = 22_050

#: Who speaks, in which channel from when on, and what.
CALL = (
    ("en-us", 1, 0.5, "Good morning. I would like to change my appointment on Monday."),
    ("en-gb+f3", 2, 6.5, "The doctor is in the hospital. Can you come on Friday?"),
    ("en-us", 1, 11.5, "Friday is good. I will be there after lunch."),
    ("en-gb+f3", 2, 13.5, "Please bring the letter and some money."),
)

#: Words wrong of words said.
WORD_ERRORS = 0.15

Samples = NDArray[np.float32]


def spoken(voice: str, words: str) -> Samples:
    command = ["espeak-ng", "-v", voice, "-s", "145", "--stdout", words]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(data)) as file:
        assert file.getframerate() == RATE
        pcm = np.frombuffer(file.readframes(len(data)), "<i2")
    return pcm.astype(np.float32) / np.float32(32768)


def call() -> Samples:
    """The call in two channels; towards the end, both speak at the same time."""
    channels = np.zeros((2, 18 * RATE), np.float32)
    for voice, channel, start, words in CALL:
        sound = spoken(voice, words)
        begin = int(start * RATE)
        channels[channel - 1, begin : begin + len(sound)] += 0.6 * sound
    return channels


def wav(channels: Samples) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setparams((len(channels), 2, RATE, 0, "NONE", ""))
        target.writeframes((channels.T * 32767).astype("<i2").tobytes())
    return file.getvalue()


def monologue() -> Waveform:
    return Waveform("a", decoded(wav(spoken("en-us", said())[np.newaxis])))


def said(channel: int | None = None) -> str:
    return " ".join(words for _, each, _, words in CALL if channel in (None, each))


@pytest.mark.timeout(300)
def test_two_people_on_two_channels_are_transcribed_apart_and_dual_mono_once(
    tmp_path: Path, temporary: Path
) -> None:
    channels = call()
    lone = channels[0]
    archive = tmp_path / "calls.tar"
    archive.write_bytes(
        tar_of(
            {
                "call.wav": wav(channels),
                "dual.wav": wav(np.stack([lone, lone])),
                "late.wav": wav(np.stack([lone, np.roll(lone, RATE // 50)])),
                "inverted.wav": wav(np.stack([lone, -lone])),
            }
        )
    )
    out = tmp_path / "out"

    result = run("try", str(archive), "--json", "--out", str(out), TMPDIR=str(temporary))

    assert result.returncode == 0, result.stderr
    texts = {each["path"]: each["text"] for each in json.loads(result.stdout)["recordings"]}
    apart = Transcript.from_json((out / "call.wav.json").read_bytes())
    assert [each.start for each in apart.segments] == sorted(each.start for each in apart.segments)
    for channel in (1, 2):
        heard = " ".join(each.text for each in apart.segments if each.channel == channel)
        assert word_errors(said(channel), heard) <= WORD_ERRORS, heard
    # In the order in which they were said, though no model aligns them.
    assert [each.channel for each in apart.segments] == [1, 2, 1, 2]
    begins = [each.start for each in apart.segments]
    assert begins == pytest.approx([start for _, _, start, _ in CALL], abs=0.7)
    assert all((each.loudness_dbfs or -100) > -50 for each in apart.segments)
    assert texts["call.wav"] == apart.text
    captions = (out / "call.wav.vtt").read_text()
    assert "<v Channel 1>" in captions
    assert "<v Channel 2>" in captions
    assert "[channel 2] " in (out / "call.wav.srt").read_text()
    for name in ("dual.wav", "late.wav", "inverted.wav"):
        one = Transcript.from_json((out / f"{name}.json").read_bytes())
        assert {each.channel for each in one.segments} == {None}
        assert word_errors(said(1), texts[name]) <= WORD_ERRORS, texts[name]
        assert "hannel" not in (out / f"{name}.vtt").read_text()
    assert leftovers(temporary) == []


def test_captions_without_a_letter_or_a_digit_are_left_out_and_counted(
    recogniser: WhisperXRecogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = iter([". .", "♪♪", "Well."])

    def write(sounds: list[Any], language: str) -> list[WindowText]:
        assert language == "en"
        return [WindowText(next(texts), -0.5) for _ in sounds]

    monkeypatch.setattr(recogniser._writer, "write", write)
    monkeypatch.setattr(
        recogniser._voice, "find_speech", lambda sounds, _: [[(0, 2), (3, 5), (6, 8)]] * len(sounds)
    )

    (heard,) = recogniser.transcribe([monologue()])

    assert isinstance(heard, Transcript)
    assert [each.text for each in heard.segments] == ["Well."]
    (note,) = [note for note in heard.notes if note.code == NoteCode.WORDLESS]
    assert note.text == "2 captions without a letter or a digit left out"
    assert not note.is_loss


def test_a_recording_of_such_captions_only_has_no_words(
    recogniser: WhisperXRecogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        recogniser._writer, "write", lambda sounds, _: [WindowText(". .", -0.5) for _ in sounds]
    )

    (heard,) = recogniser.transcribe([monologue()])

    assert isinstance(heard, Transcript)
    assert (heard.segments, heard.reason) == ((), "speech found, but no words in it")
    assert [note.code for note in heard.notes] == [NoteCode.WORDLESS]
