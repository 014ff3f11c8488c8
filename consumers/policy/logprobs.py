"""A score from the log probabilities of the few likeliest tokens that a server returns."""

from __future__ import annotations

import math
from collections.abc import Mapping

from consumers.errors import PermanentError
from consumers.policy.cope import NO, YES

#: The largest acceptable error of a score when an answer's probability is not returned.
TOLERANCE = 0.05

#: White space around a token's text; SentencePiece writes a space as ``▁``.
_SPACE = " ▁\t\r\n"


def score(likeliest: Mapping[str, float | None]) -> float:
    """Return the probability of yes among yes and no.

    An answer that is not returned is less likely than any returned token, and no likelier than
    all other tokens together. That bound is used for it, if the score cannot be off by more
    than `TOLERANCE`.

    Args:
        likeliest: Natural logarithms of the likeliest tokens' probabilities.

    Raises:
        PermanentError: Neither answer is returned, or the score remains uncertain.
    """
    known = {
        token: logprob
        for token, logprob in likeliest.items()
        if logprob is not None and math.isfinite(logprob)
    }
    yes, no = _logprob(known, YES), _logprob(known, NO)
    if yes is None and no is None:
        raise PermanentError(
            f"the model's likeliest answers are neither {YES!r} nor {NO!r}: "
            "POLICY_ENDPOINT_MODEL is not a model for CoPE's prompt"
        )
    if yes is not None and no is not None:
        return _share(yes, no)
    bound = _bound_of_others(known)
    result = _share(bound if yes is None else yes, bound if no is None else no)
    if TOLERANCE < result < 1 - TOLERANCE:
        raise PermanentError(
            f"only one of the answers {YES!r} and {NO!r} is among the model's likeliest, and it is "
            "not likely: POLICY_ENDPOINT_MODEL is not a model for CoPE's prompt"
        )
    return result


def _logprob(known: Mapping[str, float], answer: str) -> float | None:
    """Return the likeliest spelling of an answer, with or without a space."""
    return max((known[token] for token in known if token.strip(_SPACE) == answer), default=None)


def _bound_of_others(known: Mapping[str, float]) -> float:
    rest = 1 - math.fsum(map(math.exp, known.values()))
    return min(*known.values(), math.log(rest) if rest > 0 else -math.inf)


def _share(yes: float, no: float) -> float:
    """Return the softmax of the first; one of the logarithms can be minus infinity."""
    difference = no - yes
    # exp would overflow; the score rounds to 0.
    return 0.0 if difference > 700 else 1 / (1 + math.exp(difference))  # noqa: PLR2004
