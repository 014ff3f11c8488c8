"""Turns prompts into the tokens of an in-process model."""

from __future__ import annotations

from typing import Any

from consumers.errors import ConfigurationError
from consumers.policy.cope import NO, YES, prompt

#: The most tokens by which the count of a content alone and its share of a prompt differ, because
#: a tokenizer splits its two ends differently.
SEAM = 8


class PromptTokenizer:
    """Tokenizes policies and contents, and counts their tokens."""

    def __init__(self, tokenizer: Any) -> None:
        """Use a tokenizer of transformers, which must treat special tokens in texts as text.

        Raises:
            ConfigurationError: An answer is not a single token.
        """
        self._tokenizer = tokenizer
        self.yes = self._single(YES)
        self.no = self._single(NO)

    def of_prompt(self, policy: str, content: str) -> list[int]:
        """Return the whole prompt, with the model's initial special tokens."""
        ids: list[int] = self._tokenizer(prompt(policy, content)).input_ids
        return ids

    def most_of(self, content: str) -> int:
        """Return the most tokens that a content can add to a prompt."""
        return len(self._ids(content)) + SEAM

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _single(self, answer: str) -> int:
        ids = self._ids(answer)
        # Some tokenizers fall back to a token for the byte, which does not count.
        if self._tokenizer.convert_ids_to_tokens(ids) != [answer]:
            raise ConfigurationError(
                f"the policy model (POLICY_MODEL) has no token of its own for the answer "
                f"{answer!r}: it is not a model for CoPE's prompt"
            )
        return ids[0]


def common_prefix(rows: list[list[int]]) -> int:
    """Count the tokens that all rows, at least one, begin with."""
    first, last = min(rows), max(rows)
    for n, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return n
    return min(len(first), len(last))
