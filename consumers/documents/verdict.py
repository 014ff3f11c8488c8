"""What the policies say of one recording, and the JSON that it is stored as.

Times are seconds from the recording's start.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from consumers.errors import PermanentError

VerdictState = Literal["judged", "unjudged"]

VERSION = 1

#: Digits of a score that are kept; the ones after them differ with the batch.
DIGITS = 4


class MalformedVerdictError(PermanentError):
    """Stored bytes are no verdict of a version that this program reads."""


@dataclass(frozen=True, slots=True)
class JudgedWindow:
    """A passage that was judged by itself; ``score`` is from 0 to 1."""

    start: float
    end: float
    score: float
    flagged: bool


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """What one policy says of a recording.

    Attributes:
        policy: Its name.
        version: Of its text; see `consumers.policy.policy.Policy`.
        threshold: The least score that flagged a window.
        flagged: Whether any window is.
        score: The highest of the windows'.
        windows: In order; together all that was said.
    """

    policy: str
    version: str
    threshold: float
    flagged: bool
    score: float
    windows: tuple[JudgedWindow, ...]


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """What became of one recording.

    Attributes:
        audio_id: Whose.
        state: ``unjudged`` where no model was asked, and ``reason`` says why.
        reason: See there; for a judged one what is to be known of it, or None.
        language: In which it is said.
        model: Which judged; None where none did.
        adapter: Which adapter was on it.
        findings: One per policy, by name.
    """

    audio_id: str
    state: VerdictState
    reason: str | None
    language: str | None
    model: str | None
    adapter: str | None
    findings: tuple[PolicyFinding, ...]

    @property
    def flagged(self) -> bool:
        """Whether any policy flags it."""
        return any(finding.flagged for finding in self.findings)

    def to_json(self) -> bytes:
        """UTF-8, the fields in the order of their declaration after the version."""
        document = {"version": VERSION, **asdict(self)}
        return json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote; fields that this version does not know are skipped.

        Raises:
            MalformedVerdictError: It is not JSON, of another version, or a field is missing
                or wrong.
        """
        try:
            document = json.loads(data)
            if document["version"] != VERSION:
                raise MalformedVerdictError(
                    f"the verdict has version {document['version']!r}, and this program reads "
                    f"version {VERSION}"
                )
            return cls(
                audio_id=_text(document["audio_id"]),
                state=_state(document["state"]),
                reason=_text_or_none(document["reason"]),
                language=_text_or_none(document["language"]),
                model=_text_or_none(document["model"]),
                adapter=_text_or_none(document["adapter"]),
                findings=tuple(_finding(each) for each in document["findings"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise MalformedVerdictError(f"the verdict can't be read: {exc!r}") from exc


def _finding(document: dict[str, Any]) -> PolicyFinding:
    return PolicyFinding(
        policy=_text(document["policy"]),
        version=_text(document["version"]),
        threshold=float(document["threshold"]),
        flagged=_truth(document["flagged"]),
        score=float(document["score"]),
        windows=tuple(_window(each) for each in document["windows"]),
    )


def _window(document: dict[str, Any]) -> JudgedWindow:
    return JudgedWindow(
        start=float(document["start"]),
        end=float(document["end"]),
        score=float(document["score"]),
        flagged=_truth(document["flagged"]),
    )


def _state(value: object) -> VerdictState:
    if value in get_args(VerdictState):
        return value  # type: ignore[return-value]
    raise TypeError(f"{value!r} is neither judged nor unjudged")


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError(f"{value!r} is neither true nor false")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{value!r} is no text")


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)
