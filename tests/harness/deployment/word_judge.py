"""A judge without a model, for tests of everything around it.

It keeps the same contract as the real ones (`tests/contracts/judge.py` runs
against all of them), and knows of a policy nothing but its last word.
"""

from __future__ import annotations

from collections.abc import Sequence


class WordJudge:
    """Flags content that holds the policy's last word."""

    model = "word"
    adapter = None

    def __init__(self, context: int = 8192) -> None:
        self.context = context

    def prompt_tokens(self, policy: str) -> int:
        """Count the policy's words."""
        return len(policy.split())

    def content_tokens(self, content: str) -> int:
        """Count the content's words."""
        return len(content.split())

    def scores(self, policy: str, contents: Sequence[str]) -> list[float]:
        """Score content with the word 0.9, and other content 0.1."""
        forbidden = policy.rsplit(maxsplit=1)[-1].casefold()
        return [0.9 if forbidden in content.casefold().split() else 0.1 for content in contents]
