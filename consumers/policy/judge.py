"""The interface of a policy model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Judge(Protocol):
    """Scores how likely contents are to meet a policy, for one thread.

    The prompt is left to the model, which may use a chat template.
    """

    @property
    def model(self) -> str:
        """The model's name, stored with each verdict."""

    @property
    def adapter(self) -> str | None:
        """The adapter's name; None if there is none or it is unknown."""

    @property
    def context(self) -> int:
        """The most tokens of a prompt."""

    def prompt_tokens(self, policy: str) -> int:
        """Count the tokens of the prompt with this policy and without content.

        Raises:
            TransientError: The model is unreachable.
        """

    def content_tokens(self, content: str) -> int:
        """Return the most tokens that a content can add to a prompt."""

    def scores(self, policy: str, contents: Sequence[str]) -> list[float]:
        """Score contents against a policy.

        Args:
            policy: Its text.
            contents: Each short enough for the context, with the policy.

        Returns:
            For each, in order, the probability from 0 to 1 that it meets the policy.

        Raises:
            TransientError: The model is unreachable, or short of memory.
            PermanentError: The model refuses the prompt.
            ConfigurationError: The model is of another kind, or the key is wrong.
        """
