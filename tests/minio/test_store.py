"""MinIO as a store."""

from __future__ import annotations

import pytest

from consumers.store import Store
from tests.contracts.store import StoreContract, new_bucket
from tests.harness.servers.minio import MinioServer


@pytest.fixture(scope="module")
def store(server: MinioServer) -> Store:
    return new_bucket(server.settings)


class TestStoreOnMinIO(StoreContract):
    """The contract."""
