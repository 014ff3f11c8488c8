"""A score from the few likeliest tokens that a server tells."""

from __future__ import annotations

import math
from collections.abc import Mapping

from consumers.errors import PermanentError
from consumers.policy.cope import NO, YES

#: By how much at most a score can be wrong because an answer's probability is not told.
TOLERANCE = 0.05

#: What servers put around a token's text: SentencePiece spells a space ``▁``.
_SPACE = " ▁\t\r\n"


def score(likeliest: Mapping[str, float | None]) -> float:
    """Give the probability of yes, of yes and no.

    An answer that is not told is less likely than any that is, and no likelier
    than all that are not told together. It is taken for as likely as that, if
    the score cannot be off by more than `TOLERANCE` then.

    Args:
        likeliest: Natural logarithms of the likeliest tokens' probabilities.

    Raises:
        PermanentError: Neither answer is told, or what is told leaves the score open.
    """
    told = {
        token: logprob
        for token, logprob in likeliest.items()
        if logprob is not None and math.isfinite(logprob)
    }
    yes, no = _logprob(told, YES), _logprob(told, NO)
    if yes is None and no is None:
        raise PermanentError(
            f"the model's likeliest answers are neither {YES!r} nor {NO!r}: "
            "POLICY_ENDPOINT_MODEL is no model for CoPE's prompt"
        )
    if yes is not None and no is not None:
        return _share(yes, no)
    bound = _most_of_untold(told)
    result = _share(bound if yes is None else yes, bound if no is None else no)
    if TOLERANCE < result < 1 - TOLERANCE:
        raise PermanentError(
            f"only one of the answers {YES!r} and {NO!r} is among the model's likeliest, and it is "
            "not likely: POLICY_ENDPOINT_MODEL is no model for CoPE's prompt"
        )
    return result


def _logprob(told: Mapping[str, float], answer: str) -> float | None:
    """Of an answer's spellings with and without a space, the likeliest."""
    return max((told[token] for token in told if token.strip(_SPACE) == answer), default=None)


def _most_of_untold(told: Mapping[str, float]) -> float:
    rest = 1 - math.fsum(map(math.exp, told.values()))
    return min(*told.values(), math.log(rest) if rest > 0 else -math.inf)


def _share(yes: float, no: float) -> float:
    """The softmax's first, of logarithms of which one can be minus infinity."""
    difference = no - yes
    # exp overflows where the score is nothing in a float, too.
    return 0.0 if difference > 700 else 1 / (1 + math.exp(difference))  # noqa: PLR2004
