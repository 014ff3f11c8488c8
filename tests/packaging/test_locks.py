"""What hosts are given is what setup.cfg asks for: who drifts is told here, not on a host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "ops/ansible/locks"

#: The extras of each lock file; `make-locks.sh` says the same.
EXTRAS = {
    "consumer": {"transfer", "endpoint"},
    "speech": {"transfer", "endpoint", "speech"},
    "policy": {"transfer", "endpoint", "speech", "policy"},
}

#: What a host is: Debian 12.
HOST = {"python_version": "3.11", "python_full_version": "3.11.2", "sys_platform": "linux"}

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)", re.MULTILINE)


def pins(name: str) -> dict[str, Version]:
    text = (LOCKS / f"{name}.txt").read_text()
    return {
        canonicalize_name(match["name"]): Version(match["version"]) for match in _PIN.finditer(text)
    }


def requirements(extras: set[str]) -> Iterator[Requirement]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].splitlines()
    for extra in extras:
        lines += config["options.extras_require"][extra].splitlines()
    for line in lines:
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(HOST):
                yield requirement


@pytest.mark.parametrize("lock", EXTRAS)
def test_a_lock_file_satisfies_the_requirements_of_setup_cfg(lock: str) -> None:
    locked = pins(lock)
    wrong = [
        f"{requirement}, but {locked.get(canonicalize_name(requirement.name))} is locked"
        for requirement in requirements(EXTRAS[lock])
        if not requirement.specifier.contains(
            str(locked.get(canonicalize_name(requirement.name), "")) or "0.0.dev0"
        )
    ]
    assert not wrong, f"run ops/ansible/locks/make-locks.sh {lock}"


@pytest.mark.parametrize("lock", [*EXTRAS, "uv"])
def test_each_pinned_package_has_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", (LOCKS / f"{lock}.txt").read_text())
    pinned = [entry for entry in entries if not entry.startswith("#")]
    assert pinned
    assert [entry for entry in pinned if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", [*EXTRAS, "uv"])
def test_a_lock_file_names_no_registry(lock: str) -> None:
    """Where packages come from is the operator's to say."""
    assert "://" not in (LOCKS / f"{lock}.txt").read_text()
