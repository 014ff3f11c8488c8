"""CoPE-A's prompt: the exact bytes that the model was trained on.

https://huggingface.co/zentropi-ai/cope-a-9b, "Input Format". There is no chat template; the
model answers with one token, ``1`` or ``0``.
"""

from __future__ import annotations

import re

_BEFORE_POLICY = """\
INSTRUCTIONS
============

Examine the given POLICY and determine if the given CONTENT meets the criteria for ANY of the \
LABELS. Answer "1" if yes, and "0" if no.


POLICY
======

"""

_BEFORE_CONTENT = """


CONTENT
=======

"""

SUFFIX = """


ANSWER
======

"""

#: The answers: the content meets the policy, or does not.
YES = "1"
NO = "0"

#: The beginnings of Gemma's special tokens: `<eos>`, `<2mass>`, `</s>`, `<|image|>`, `[@BOS@]`.
_OPENING = re.compile(r"<(?=[\w/|])|\[(?=@)")


def prompt(policy: str, content: str) -> str:
    """Assemble the prompt from a policy without surrounding blank lines and a `clean` content."""
    return prefix(policy) + content + SUFFIX


def prefix(policy: str) -> str:
    """Return the part before the content: the same for all contents of a policy."""
    return _BEFORE_POLICY + policy + _BEFORE_CONTENT


def clean(content: str) -> str:
    """Change the white space of a content so that it cannot pass for a part of the prompt.

    The result is one line, so it holds no heading, and no tokenizer finds a special token in
    it. Cleaning twice changes nothing.
    """
    return _OPENING.sub(r"\g<0> ", " ".join(content.split()))
