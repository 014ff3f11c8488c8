"""Words get times where a model can place them; without one the segments keep theirs.

The alignment model is a tiny wav2vec2 with random weights, so that the times mean
nothing here: what is tested is that they are there, in order, and kept with their words.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from consumers.documents.transcript import Transcript, render
from consumers.speech.recogniser import Recogniser, Waveform
from consumers.speech.weights import PACKAGED
from consumers.speech.whisper import WhisperXRecogniser

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz"]
PUNKT_FILES = ["abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt"]


def save_wav2vec2(folder: Path) -> None:
    """A CTC model that hears 40 ms per step, with its processor, as Hugging Face stores them."""
    from transformers import (  # noqa: PLC0415  - slow to import
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
        set_seed,
    )

    folder.mkdir(parents=True)
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary))
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    set_seed(1)
    config = Wav2Vec2Config(
        vocab_size=len(LETTERS),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 8),
        conv_stride=(8, 8, 5),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)


def save_punkt(models_root: Path) -> None:
    """Sentence data that knows no abbreviations: a sentence ends at its full stop."""
    folder = models_root / "nltk_data" / "tokenizers" / "punkt_tab" / "english"
    folder.mkdir(parents=True)
    for name in PUNKT_FILES:
        (folder / name).touch()


@pytest.fixture(scope="module")
def models_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save_wav2vec2(root / "align" / "en")
    return root


@pytest.fixture(scope="module")
def aligning(models_root: Path) -> WhisperXRecogniser:
    return WhisperXRecogniser(PACKAGED, models_root, device="cpu")


def recognise(recogniser: Recogniser, waveform: Waveform) -> Transcript:
    (outcome,) = recogniser.transcribe([waveform])
    assert isinstance(outcome, Transcript), outcome
    return outcome


@pytest.fixture(scope="module")
def without_punkt(aligning: WhisperXRecogniser, sample: dict[str, Waveform]) -> Transcript:
    return recognise(aligning, sample["voicemail/appointment.mp3"])


@pytest.fixture(scope="module")
def aligned(
    aligning: WhisperXRecogniser,
    models_root: Path,
    sample: dict[str, Waveform],
    without_punkt: Transcript,
) -> Transcript:
    """The same recording, after the sentence data was put in place."""
    assert not without_punkt.alignment
    save_punkt(models_root)
    return recognise(aligning, sample["voicemail/appointment.mp3"])


def test_without_sentence_data_the_segments_keep_their_times(without_punkt: Transcript) -> None:
    assert without_punkt.alignment is None
    assert without_punkt.reason is None
    (note,) = without_punkt.notes
    assert "punkt_tab" in note.text
    assert note.text.endswith("segment times only")
    assert [segment.words for segment in without_punkt.segments] == [()]


def test_words_get_times_in_order(aligned: Transcript) -> None:
    assert (aligned.alignment, aligned.reason, aligned.notes) == ("align/en", None, ())
    words = [word for segment in aligned.segments for word in segment.words]
    times = [(word.start, word.end) for word in words]
    assert times == sorted(times)
    assert all(
        start is not None and end is not None and 0 <= start <= end <= aligned.duration
        for start, end in times
    )
    assert all(word.score is not None and 0 <= word.score <= 1 for word in words)


def test_alignment_cuts_sentences_and_keeps_the_text(
    aligned: Transcript, without_punkt: Transcript
) -> None:
    assert len(without_punkt.segments) == 1
    assert [segment.text for segment in aligned.segments] == [
        "Please call me after lunch.",
        "I would like to change my appointment.",
    ]
    assert aligned.text == without_punkt.text
    for segment in aligned.segments:
        assert " ".join(word.text for word in segment.words) == segment.text
        assert segment.avg_logprob == pytest.approx(without_punkt.segments[0].avg_logprob)


def test_an_aligned_transcript_can_be_stored_and_shown(aligned: Transcript) -> None:
    assert Transcript.from_json(aligned.to_json()) == aligned
    assert "appointment" in render(aligned, "vtt")


def test_a_language_without_a_model_says_so(
    recogniser: Recogniser, sample: dict[str, Waveform]
) -> None:
    transcript = recognise(recogniser, sample["voicemail/café.wav"])

    assert transcript.alignment is None
    assert transcript.reason is None
    assert [(note.code, note.text) for note in transcript.notes] == [
        ("no_word_times", "no alignment model for 'en': segment times only")
    ]
    assert transcript.segments[0].words == ()


def test_a_broken_alignment_model_costs_the_word_times_only(
    tmp_path: Path, sample: dict[str, Waveform], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "align" / "en").mkdir(parents=True)
    (tmp_path / "align" / "en" / "config.json").write_text("{}")
    recogniser = WhisperXRecogniser(PACKAGED, tmp_path, device="cpu")

    first = recognise(recogniser, sample["voicemail/café.wav"])
    again = recognise(recogniser, sample["voicemail/café.wav"])

    assert "coffee" in first.text
    assert first.alignment is None
    assert str(tmp_path / "align" / "en") in first.notes[0].text
    assert again.notes == first.notes
    assert capfd.readouterr() == ("", "")
