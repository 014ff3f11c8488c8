"""Ceph as a store."""

from __future__ import annotations

import pytest

from consumers.store import Store
from tests.contracts.store import StoreContract, new_bucket
from tests.harness.servers.ceph import CephGateway


@pytest.fixture(scope="module")
def store(gateway: CephGateway) -> Store:
    return new_bucket(gateway.settings)


class TestStoreOnCeph(StoreContract):
    """The contract."""
