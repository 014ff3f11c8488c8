"""Ceph as a store."""

from __future__ import annotations

import pytest

from consumers.store import Store
from ops.servers.ceph import CephGateway
from tests.contracts.store import StoreContract, new_bucket


@pytest.fixture(scope="module")
def store(gateway: CephGateway) -> Store:
    return new_bucket(gateway.settings)


class TestStoreOnCeph(StoreContract):
    """The contract."""
