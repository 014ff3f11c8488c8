"""The pipeline with a policy, on real servers."""

from __future__ import annotations

import pytest

from tests.contracts.moderated import POLICY, ModeratedContract


@pytest.fixture(scope="module")
def policy() -> str:
    return POLICY


class TestModeratedPipeline(ModeratedContract):
    """The contract."""
