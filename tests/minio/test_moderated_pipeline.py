"""The whole with a policy, on MinIO, RabbitMQ and PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.contracts.deployed import DeployedPipeline, deployed
from tests.contracts.moderated import POLICY, ModeratedContract
from tests.harness.servers.minio import minio


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedPipeline]:
    # On a MinIO of its own: one asks for each of its brokers when it is told of another.
    with deployed(minio(os.environ), tmp_path_factory.mktemp("site"), policy=POLICY) as place:
        yield place


class TestModeratedOnMinIO(ModeratedContract):
    """The contract."""
