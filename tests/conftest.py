"""The choice of the store for tests on real servers, and the set-up of Hypothesis and botocore."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import create_loader
from hypothesis import settings

from consumers.errors import ConfigurationError
from tests.harness.deployment.deployment import STORE_CHOICES, StoreChoice
from tests.harness.servers.minio import find_program

# On a shared machine the duration of an example says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        choices=STORE_CHOICES,
        default="ceph",
        help="the store of tests/deployment and tests/faults; MINIO_BIN names MinIO's program, "
        "or it is on the PATH",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to start where the chosen store is not installed."""
    config.addinivalue_line("markers", "store(kind): runs on this kind of store alone")
    if config.getoption("--store") == "minio":
        try:
            find_program(os.environ)
        except ConfigurationError as exc:
            raise pytest.UsageError(str(exc)) from exc


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the other kind of store."""
    kind = config.getoption("--store")
    marks = {item: item.get_closest_marker("store") for item in items}
    others = [item for item, mark in marks.items() if mark is not None and kind not in mark.args]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session", autouse=True)
def descriptions_read_once() -> Iterator[None]:
    """Keep botocore's descriptions of services: each new client reads them, a sixth of a second."""
    kept: dict[object, object] = {}

    def create(*arguments: Any) -> Any:
        loader = create_loader(*arguments)
        # What `botocore.loaders.instance_cache` keeps for one session.
        loader._cache = kept
        return loader

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", create)
        yield


@pytest.fixture(scope="session")
def store_kind(pytestconfig: pytest.Config) -> StoreChoice:
    """The kind of store that was chosen."""
    kind: StoreChoice = pytestconfig.getoption("--store")
    return kind
