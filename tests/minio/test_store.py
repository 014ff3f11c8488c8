"""MinIO as a store."""

from __future__ import annotations

import pytest

from consumers.store import Store
from ops.servers.minio import MinioServer
from tests.contracts.store import StoreContract, new_bucket


@pytest.fixture(scope="module")
def store(server: MinioServer) -> Store:
    return new_bucket(server.settings)


class TestStoreOnMinIO(StoreContract):
    """The contract."""
