"""The real store, as `consumers.store` uses it."""

from __future__ import annotations

import pytest

from consumers.store import Store
from tests.contracts.store import StoreContract, new_bucket
from tests.harness.deployment.deployment import RealServers


@pytest.fixture(scope="module")
def store(servers: RealServers) -> Store:
    return new_bucket(servers.store.settings)


class TestStore(StoreContract):
    """The contract."""
