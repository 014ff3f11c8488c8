"""A host whose clock is one hour off."""

from __future__ import annotations

from random import Random

import pytest

from tests.faults.conftest import whole
from tests.harness.deployment.cluster import Cluster
from tests.harness.faults.clock import one_hour_off


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("route", ["unpack", "transcribe", "moderate", "review"])
def test_a_consumer_with_a_wrong_clock_ends_with_the_reason(
    here: Cluster, route: str, *, ahead: bool
) -> None:
    """The store refuses its signatures, so all of its work would fail."""
    wrong = here.fleet.start(route, **one_hour_off(ahead=ahead))
    assert here.fleet.ended(wrong, seconds=30) == 1
    said = wrong.process.log_end()
    assert f"clock is 60 minutes {'ahead of' if ahead else 'behind'} the store's" in said
    here.fleet.dismiss(wrong)
    whole(here, here.drop(Random(50), recordings=2))
