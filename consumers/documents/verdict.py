"""The verdict: what the policies say of one recording.

Times are seconds from the recording's start.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from consumers.documents.codec import Document

VerdictState = Literal["judged", "unjudged"]

#: Digits of a score that are kept; the ones after them differ with the batch size.
DIGITS = 4


class JudgedWindow(msgspec.Struct, frozen=True):
    """A passage that was judged by itself; ``score`` is from 0 to 1."""

    start: float
    end: float
    score: float
    flagged: bool


class PolicyFinding(msgspec.Struct, frozen=True):
    """What one policy says of a recording.

    Attributes:
        policy: Its name.
        version: Of its text; see `consumers.policy.policy.Policy`.
        threshold: Windows with at least this score are flagged.
        flagged: Whether any window is.
        score: The highest of the windows'.
        windows: In order; together they hold everything that was said.
    """

    policy: str
    version: str
    threshold: float
    flagged: bool
    score: float
    windows: tuple[JudgedWindow, ...]


class PolicyVerdict(Document, frozen=True):
    """The verdict on one recording.

    Attributes:
        audio_id: The recording's id.
        state: ``unjudged`` where no model was asked, for the given ``reason``.
        reason: For a judged recording a note about it, or None.
        language: The transcript's.
        model: The model that judged; None where none did.
        adapter: The adapter on it.
        findings: One per policy, by name.
    """

    NOUN: ClassVar[str] = "the verdict"

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
