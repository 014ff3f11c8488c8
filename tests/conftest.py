"""Which store the tests on real servers run on, and how Hypothesis is set up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader
from hypothesis import settings

from consumers.errors import ConfigurationError
from tests.harness.servers.ceph import ceph
from tests.harness.servers.minio import find_program, minio
from tests.harness.servers.store import StoreServer

# How long an example takes says nothing where others use the machine, too.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        choices=("ceph", "minio"),
        default="ceph",
        help="the store of tests/faults; MINIO_BIN names MinIO's program, or it is on the PATH",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say once, and not for each test, that there is no such store here."""
    if config.getoption("--store") == "minio":
        try:
            find_program(os.environ)
        except ConfigurationError as exc:
            raise pytest.UsageError(str(exc)) from exc


@pytest.fixture(scope="session", autouse=True)
def descriptions_read_once() -> Iterator[None]:
    """Keep botocore's descriptions of services: each new client reads them, a sixth of a second."""
    read = JSONFileLoader.load_file

    @cache
    def load_file(path: str) -> Any:
        return read(JSONFileLoader(), path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: load_file(path))
        yield


@pytest.fixture(scope="session")
def store_server(pytestconfig: pytest.Config) -> AbstractContextManager[StoreServer]:
    """Runs the store that was chosen."""
    if pytestconfig.getoption("--store") == "minio":
        return minio(os.environ)
    return ceph()
