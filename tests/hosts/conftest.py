"""One Debian tree for all tests here; hosts are copies of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.machine import Debian, debian


@pytest.fixture(scope="session")
def base() -> Iterator[Debian]:
    """The tree of fresh hosts."""
    with debian() as made:
        yield made
