"""Portions of a sequence, as servers and memory take only so much at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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


def weighed_portions(
    items: Iterable[T], weight: Callable[[T], float], most: float
) -> Iterator[list[T]]:
    """Split items into lists that weigh at most ``most``; one that is heavier goes alone."""
    portion: list[T] = []
    total = 0.0
    for item in items:
        added = weight(item)
        if portion and total + added > most:
            yield portion
            portion, total = [], 0.0
        portion.append(item)
        total += added
    if portion:
        yield portion
