"""Recordings in several languages, in one group, each come back as their own.

No multilingual weights fit into a test. So tiny.en is made to look like a
multilingual model that it is not: CTranslate2 takes a model for one whose
vocabulary has an empty token, and detects a language by the token that is
likeliest to come first. Here the first *word* decides: recordings that begin
with "My" are called German, those with "The" French, and all others English.
The detection, the batches by language and the regrouping are the real ones; how
well real languages are told apart is not tested.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consumers.documents.note import Note, NoteCode
from consumers.documents.transcript import Transcript
from consumers.speech.recogniser import Waveform
from consumers.speech.whisper import WhisperXRecogniser

FIRST_WORDS = {" My": "de", " The": "fr", " Please": "en", " Tomorrow": "en"}


@pytest.fixture(scope="module")
def multilingual(tiny_en: Path, tmp_path_factory: pytest.TempPathFactory) -> WhisperXRecogniser:
    folder = tmp_path_factory.mktemp("models") / "several"
    folder.mkdir()
    for name in ("model.bin", "tokenizer.json"):
        (folder / name).symlink_to(tiny_en / name)
    vocabulary = (tiny_en / "vocabulary.txt").read_text(encoding="utf-8").split("\n")
    ids = {word: vocabulary.index(word.replace(" ", "Ġ")) for word in FIRST_WORDS}
    for word, language in FIRST_WORDS.items():
        vocabulary[ids[word]] = f"<|{language}|>"
    # Token 188 is a control character.
    vocabulary[188] = ""
    (folder / "vocabulary.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    config = json.loads((tiny_en / "config.json").read_text())
    config["lang_ids"] = sorted(ids.values())
    (folder / "config.json").write_text(json.dumps(config))
    return WhisperXRecogniser("several", folder.parent, device="cpu")


@pytest.fixture(scope="module")
def group(sample: dict[str, Waveform]) -> list[Waveform]:
    """German and French in turns, silence between them."""
    railway, river = sample["interviews/02 railway.wav"], sample["interviews/01 river.mp3"]
    coffee, silent = sample["voicemail/café.wav"], sample["voicemail/silence.wav"]
    return [railway, river, silent, railway, coffee, river]


@pytest.fixture(scope="module")
def recognised(multilingual: WhisperXRecogniser, group: list[Waveform]) -> list[Transcript]:
    outcomes = multilingual.transcribe(group)
    assert all(isinstance(outcome, Transcript) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Transcript)]


def test_each_recording_has_its_language_with_a_probability(recognised: list[Transcript]) -> None:
    assert [one.language for one in recognised] == ["de", "fr", None, "de", "fr", "fr"]
    for one in recognised:
        if one.language is None:
            assert one.language_probability is None
        else:
            assert one.language_probability is not None
            assert 0.3 < one.language_probability <= 1


def test_each_recording_has_its_own_words(
    recognised: list[Transcript], group: list[Waveform]
) -> None:
    assert [one.audio_id for one in recognised] == [one.audio_id for one in group]
    for one, expected in zip(
        recognised, ["railway", "river", "", "railway", "coffee", "river"], strict=True
    ):
        assert expected in one.text


def test_a_group_of_several_languages_is_heard_as_each_of_it_alone(
    multilingual: WhisperXRecogniser, recognised: list[Transcript], group: list[Waveform]
) -> None:
    for waveform, together in zip(group[:3], recognised[:3], strict=True):
        (alone,) = multilingual.transcribe([waveform])
        assert isinstance(alone, Transcript)
        assert (alone.language, alone.text) == (together.language, together.text)


def test_a_language_without_an_alignment_model_is_named(recognised: list[Transcript]) -> None:
    assert [(one.reason, one.notes) for one in recognised[:3]] == [
        (None, (Note(NoteCode.NO_WORD_TIMES, "no alignment model for 'de': segment times only"),)),
        (None, (Note(NoteCode.NO_WORD_TIMES, "no alignment model for 'fr': segment times only"),)),
        ("no speech found", ()),
    ]
