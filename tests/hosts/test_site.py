"""Two fresh hosts, site.yml, and an archive that they complete, whatever happens to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.deployed import Deployed, deployed
from tests.hosts.machine import Debian

# What makes them takes minutes, so that all tests here have the same hosts, in this order.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def site(base: Debian, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The hosts."""
    with deployed(base, tmp_path_factory.mktemp("site")) as running:
        yield running


def test_a_second_run_changes_nothing(site: Deployed) -> None:
    again = site.control.play("site.yml")
    assert (again.code, again.changed) == (0, {"cpu1": 0, "gpu1": 0}), again.output[-6000:]
