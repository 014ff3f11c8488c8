"""CoPE-A's prompt, which is its interface: byte for byte what the model was trained on.

https://huggingface.co/zentropi-ai/cope-a-9b, "Input Format". There is no chat
template; the model answers with one token, ``1`` or ``0``.
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

#: What follows the content.
SUFFIX = """


ANSWER
======

"""

#: The answers: the content meets the policy, or does not.
YES = "1"
NO = "0"

#: Where Gemma's special tokens begin: `<eos>`, `<2mass>`, `</s>`, `<|image|>`, `[@BOS@]`.
_OPENING = re.compile(r"<(?=[\w/|])|\[(?=@)")


def prompt(policy: str, content: str) -> str:
    """Assemble the whole prompt.

    Args:
        policy: Its text, without blank lines around it.
        content: What is judged, as `clean` gives it.
    """
    return prefix(policy) + content + SUFFIX


def prefix(policy: str) -> str:
    """Give what stands before the content: the same for all contents of a policy."""
    return _BEFORE_POLICY + policy + _BEFORE_CONTENT


def clean(content: str) -> str:
    """Make a content that cannot be taken for a part of the prompt.

    It is one line, so it holds no heading; and no tokenizer finds a special token
    in it. But for white space it is what it was. Cleaning twice changes nothing.
    """
    return _OPENING.sub(r"\g<0> ", " ".join(content.split()))
