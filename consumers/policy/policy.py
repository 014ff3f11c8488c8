"""A content policy as a value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

#: Hexadecimal digits of a version.
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy.

    Attributes:
        name: What people call it; its file's name without ``.md``.
        text: Markdown, as the model reads it.
        threshold: The least score (0 to 1) that flags a window.
    """

    name: str
    text: str
    threshold: float

    @property
    def version(self) -> str:
        """What tells this text from any other of the same name: a hash of it."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:_DIGITS]
