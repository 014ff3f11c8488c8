"""Checking a policy before it is used: its structure and its length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumers.errors import ConfigurationError
from consumers.policy.judge import Judge
from consumers.policy.policy import Policy, read_policy, read_text
from consumers.policy.structure import Problem, check_structure, read_labels
from consumers.policy.windows import LEAST_ROOM

#: A minute of speech is about 150 words, or 200 tokens.
_AMPLE_ROOM = 512


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens of the prompt without content, and the most that a prompt may have."""

    tokens: int
    context: int

    @property
    def room(self) -> int:
        """Tokens that are left for content."""
        return self.context - self.tokens


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """The result of checking one file.

    Attributes:
        policy: None if the file is unreadable.
        length: None if it was not counted.
    """

    path: Path
    policy: Policy | None
    length: Length | None
    problems: tuple[Problem, ...]

    @property
    def is_fine(self) -> bool:
        """Whether there are no errors."""
        return all(problem.nature != "error" for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the report."""
        length = self.length
        return {
            "file": str(self.path),
            **(policy_as_json(self.policy) if self.policy else {"name": None}),
            "tokens": length.tokens if length else None,
            "context": length.context if length else None,
            "room": length.room if length else None,
            "problems": [
                {"line": each.line, "nature": each.nature, "message": each.message}
                for each in self.problems
            ],
        }


def check_policy(path: Path, judge: Judge | None) -> PolicyReport:
    """Read and check a policy, and count its tokens if there is a judge.

    Raises:
        TransientError: The model is unreachable.
    """
    try:
        policy = read_policy(path)
        text = read_text(path)
    except ConfigurationError as exc:
        return PolicyReport(path, None, None, (Problem(1, "error", str(exc)),))
    problems = check_structure(text)
    if judge is None:
        return PolicyReport(path, policy, None, tuple(problems))
    length = Length(judge.prompt_tokens(policy.text), judge.context)
    return PolicyReport(path, policy, length, (*_length_problems(length), *problems))


def _length_problems(length: Length) -> list[Problem]:
    left = f"it takes {length.tokens} of the model's {length.context} tokens, and "
    if length.room < LEAST_ROOM:
        return [Problem(1, "error", left + "leaves too few for the transcript: shorten it")]
    if length.room < _AMPLE_ROOM:
        advice = f"leaves {length.room}: long passages are judged in parts"
        return [Problem(1, "remark", left + advice)]
    return []


def policy_as_json(policy: Policy) -> dict[str, Any]:
    """Return the JSON object of a policy."""
    return {
        "name": policy.name,
        "version": policy.version,
        "threshold": policy.threshold,
        "words": len(policy.text.split()),
        "labels": [{"code": label.code, "name": label.name} for label in read_labels(policy.text)],
    }
