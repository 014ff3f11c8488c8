"""The whole with a policy, on Ceph, RabbitMQ and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tests.contracts.deployed import DeployedPipeline, deployed
from tests.contracts.moderated import POLICY, ModeratedContract
from tests.harness.servers.ceph import CephGateway


@pytest.fixture(scope="module")
def place(
    gateway: CephGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeployedPipeline]:
    with deployed(nullcontext(gateway), tmp_path_factory.mktemp("site"), policy=POLICY) as place:
        yield place


class TestModeratedOnCeph(ModeratedContract):
    """The contract."""
