"""The transcript as a value, and the JSON that it is stored as.

Times are seconds from the recording's start. Words that the aligner could not
place have no times; without an alignment model a segment has no words at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, NoReturn

from consumers.errors import PermanentError

TranscriptState = Literal["transcribed", "silent", "rejected"]

VERSION = 1

#: The level that digital silence, and all that is quieter, is given: a third of
#: a 16-bit step.
QUIETEST_DBFS = -100.0


class MalformedTranscriptError(PermanentError):
    """Stored bytes are no transcript of a version that this program reads."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word; ``score`` is the aligner's confidence, from 0 to 1."""

    text: str
    start: float | None
    end: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech.

    Attributes:
        start: Seconds; so is ``end``.
        end: See there.
        text: What was said.
        avg_logprob: Whisper's mean log probability per token.
        words: With their times, where an alignment model placed them.
        loudness_dbfs: RMS of its sound in dB of full scale; digital silence, which has no
            level, is given as `QUIETEST_DBFS`. None where it was not measured.
    """

    start: float
    end: float
    text: str
    avg_logprob: float | None
    words: tuple[Word, ...]
    loudness_dbfs: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What became of one recording.

    ``reason`` says why there is no text (silent, rejected, no speech found) or what
    is missing from it (word times). ``language_probability`` is None where the
    language was not detected but known. ``alignment`` names the model that placed
    the words, None where none did.
    """

    audio_id: str
    state: TranscriptState
    reason: str | None
    duration: float
    language: str | None
    language_probability: float | None
    model: str | None
    alignment: str | None
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """All that was said, in one line."""
        return " ".join(segment.text for segment in self.segments).strip()

    def to_json(self) -> bytes:
        """UTF-8, the fields in the order of their declaration after the version."""
        document = {"version": VERSION, **asdict(self)}
        return json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Transcript:
        """Read what ``to_json`` wrote; fields that this version does not know are skipped.

        Raises:
            MalformedTranscriptError: not JSON, another version, or a field is missing or wrong.
        """
        try:
            document = json.loads(data, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as exc:
            raise MalformedTranscriptError(f"the transcript is not valid JSON: {exc}") from exc
        fields = _Fields(document, "the transcript")
        version = fields.get("version")
        if version != VERSION:
            raise MalformedTranscriptError(
                f"the transcript has version {version!r}, and this program reads version {VERSION}"
            )
        return cls(
            audio_id=fields.text("audio_id"),
            state=fields.state("state"),
            reason=fields.text_or_none("reason"),
            duration=fields.number("duration"),
            language=fields.text_or_none("language"),
            language_probability=fields.number_or_none("language_probability"),
            model=fields.text_or_none("model"),
            alignment=fields.text_or_none("alignment"),
            segments=tuple(_segment(item) for item in fields.items("segments")),
        )


def _segment(fields: _Fields) -> Segment:
    return Segment(
        start=fields.number("start"),
        end=fields.number("end"),
        text=fields.text("text"),
        avg_logprob=fields.number_or_none("avg_logprob"),
        words=tuple(_word(item) for item in fields.items("words")),
        # Transcripts had no levels at first.
        loudness_dbfs=fields.number_or_none("loudness_dbfs", optional=True),
    )


def _word(fields: _Fields) -> Word:
    return Word(
        text=fields.text("text"),
        start=fields.number_or_none("start"),
        end=fields.number_or_none("end"),
        score=fields.number_or_none("score"),
    )


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity, which Python's parser takes and JSON does not know."""
    raise ValueError(f"{name} is no JSON number")


class _Fields:
    """A JSON object whose fields are read with a check of their types."""

    def __init__(self, document: object, where: str) -> None:
        if not isinstance(document, dict):
            raise MalformedTranscriptError(f"{where} is no JSON object")
        self._document = document
        self._where = where

    def get(self, name: str) -> Any:
        if name not in self._document:
            raise MalformedTranscriptError(f"{self._where} has no field {name!r}")
        return self._document[name]

    def text(self, name: str) -> str:
        value = self.get(name)
        # Half of a surrogate pair can be written in JSON, but stored nowhere.
        if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):
            raise self._wrong(name, "text")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self.get(name) is None else self.text(name)

    def number(self, name: str) -> float:
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number")
        try:
            number = float(value)
        except OverflowError as exc:
            raise self._wrong(name, "a number of usual size") from exc
        if not math.isfinite(number):
            raise self._wrong(name, "a number of usual size")
        return number

    def number_or_none(self, name: str, *, optional: bool = False) -> float | None:
        if optional and name not in self._document:
            return None
        return None if self.get(name) is None else self.number(name)

    def state(self, name: str) -> TranscriptState:
        match self.get(name):
            case "transcribed" | "silent" | "rejected" as state:
                return state  # type: ignore[no-any-return]
        raise self._wrong(name, "transcribed, silent or rejected")

    def items(self, name: str) -> Iterator[_Fields]:
        value = self.get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        for index, item in enumerate(value):
            yield _Fields(item, f"{self._where}: {name}[{index}]")

    def _wrong(self, name: str, expected: str) -> MalformedTranscriptError:
        return MalformedTranscriptError(f"{self._where}: {name!r} is not {expected}")
