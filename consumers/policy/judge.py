"""What scores contents against a policy, whichever model is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Judge(Protocol):
    """Says how likely it is that contents meet a policy.

    The prompt is the model's own matter: nothing here stands in the way of one
    with a chat template. Belongs to one thread.
    """

    @property
    def model(self) -> str:
        """The model's name, as it is stored with each verdict."""
        ...

    @property
    def adapter(self) -> str | None:
        """The name of the adapter on it; None where it has none, or nobody tells."""
        ...

    @property
    def context(self) -> int:
        """Tokens that a prompt may have."""
        ...

    def prompt_tokens(self, policy: str) -> int:
        """Count the tokens of the prompt with this policy and without content.

        Raises:
            TransientError: The model is away.
        """
        ...

    def content_tokens(self, content: str) -> int:
        """Give the most tokens that a content can add to a prompt."""
        ...

    def scores(self, policy: str, contents: Sequence[str]) -> list[float]:
        """Score contents against a policy.

        Args:
            policy: Its text.
            contents: Each short enough for the context, with the policy.

        Returns:
            For each, in order, the probability from 0 to 1 that it meets the policy.

        Raises:
            TransientError: The model is away, or has not memory enough now.
            PermanentError: It takes no such prompt.
            ConfigurationError: What is there is no such model, or the key is not the right one.
        """
        ...
