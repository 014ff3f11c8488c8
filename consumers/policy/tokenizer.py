"""Prompts as the tokens that a model reads."""

from __future__ import annotations

from typing import Any

from consumers.errors import ConfigurationError
from consumers.policy.cope import NO, YES, prompt

#: The most tokens by which a content's own count and its share of a prompt differ:
#: at its two ends it is cut otherwise than alone.
SEAM = 8


class PromptTokenizer:
    """Makes a causal model's tokens of policies and contents, and counts them."""

    def __init__(self, tokenizer: Any) -> None:
        """Take transformers' tokenizer, which is to leave special tokens in texts unread.

        Raises:
            ConfigurationError: An answer is not one token.
        """
        self._tokenizer = tokenizer
        self.yes = self._single(YES)
        self.no = self._single(NO)

    def of_prompt(self, policy: str, content: str) -> list[int]:
        """The whole prompt, after the special tokens that the model wants before any text."""
        ids: list[int] = self._tokenizer(prompt(policy, content)).input_ids
        return ids

    def most_of(self, content: str) -> int:
        """The most tokens that a content adds to a prompt."""
        return len(self._ids(content)) + SEAM

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _single(self, answer: str) -> int:
        ids = self._ids(answer)
        # A single byte of a tokenizer that falls back to bytes is no such token.
        if self._tokenizer.convert_ids_to_tokens(ids) != [answer]:
            raise ConfigurationError(
                f"the policy model (POLICY_MODEL) has no token of its own for {answer!r}, which is "
                "an answer that it has to give: it is no model for CoPE's prompt"
            )
        return ids[0]


def common_prefix(rows: list[list[int]]) -> int:
    """Count the tokens that all rows begin with.

    Args:
        rows: At least one.
    """
    first, last = min(rows), max(rows)
    for n, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return n
    return min(len(first), len(last))
