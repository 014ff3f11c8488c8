"""A recording as the source of review items."""

from __future__ import annotations

from dataclasses import dataclass

from consumers.documents.transcript import Transcript
from consumers.documents.verdict import PolicyFinding
from events.keys import AudioId


@dataclass(frozen=True, slots=True)
class Reviewable:
    """A recording, its transcript and the findings of the policies.

    Attributes:
        audio: Its id.
        path: The member's path in the archive.
        duration: Seconds of sound.
        flagged: Whether a policy flags it; None if no policy was applied.
        findings: One for each policy that was applied.
        transcript: Its transcript.
    """

    audio: AudioId
    path: str
    duration: float
    flagged: bool | None
    findings: tuple[PolicyFinding, ...]
    transcript: Transcript
