"""One Debian tree for all tests here; hosts are copies of it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hosts.machine import Debian, Provisions, debian

#: Files in the order in which processes take them: the longest first, and a host that needs what
#: another one downloads after it.
_ORDER = ("test_site", "test_volume", "test_models", "test_single_host", "test_monitoring")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, and give each test here the time that making a host can take."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(3600))
    items.sort(key=lambda item: (*_ORDER, item.path.stem).index(item.path.stem))


@pytest.fixture(scope="session")
def provisions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisions]:
    """What all processes of this session make once; the last one removes it."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    folder = session / "provisions"
    with (session / "provisions.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        folder.mkdir(exist_ok=True)
        yield Provisions(folder)
        with suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


@pytest.fixture(scope="session")
def base(provisions: Provisions) -> Iterator[Debian]:
    """The tree of fresh hosts."""
    with debian(provisions) as made:
        yield made


@pytest.fixture(scope="session", autouse=True)
def packed_modules(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """A folder in which runs of playbooks find Ansible's modules, packed by earlier ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACKED_MODULES", str(tmp_path_factory.mktemp("modules")))
        yield
