"""Portions of a sequence, as servers and memory take only so much at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split items into lists of ``size`` items, the last of which may be shorter.

    `itertools.batched` does so from Python 3.12 on.
    """
    rest = iter(items)
    while portion := list(islice(rest, size)):
        yield portion
