"""The whole on MinIO, RabbitMQ and PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.contracts.deployed import DeployedPipeline, deployed
from tests.contracts.pipeline import PipelineContract
from tests.harness.servers.minio import minio


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedPipeline]:
    # On a MinIO of its own: one asks for each of its brokers when it is told of another.
    with deployed(minio(os.environ), tmp_path_factory.mktemp("site")) as place:
        yield place


class TestPipelineOnMinIO(PipelineContract):
    """The contract."""
