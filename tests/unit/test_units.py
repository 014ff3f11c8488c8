"""What holds for the systemd units of all roles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROLES = Path(__file__).parents[2] / "ops/ansible/roles"

TEMPLATES = sorted(_ROLES.glob("*/templates/*.service.j2"))
ONCE = [path for path in TEMPLATES if "Type=oneshot" in path.read_text()]


def test_there_are_units_that_run_once() -> None:
    assert 5 <= len(ONCE) < len(TEMPLATES)


@pytest.mark.parametrize("unit", ONCE, ids=lambda path: path.name)
def test_a_unit_that_runs_once_starts_one_program(unit: Path) -> None:
    """With cgroups of version 1 an empty group is removed from outside, between two as well.

    The second program then fails with 219/CGROUP, now and then.
    """
    started = re.findall(r"^Exec\w+=", unit.read_text(), re.MULTILINE)
    assert started == ["ExecStart="]


@pytest.mark.parametrize("role", sorted(path.name for path in _ROLES.iterdir()))
def test_nor_does_a_setting_of_another_role_add_one(role: str) -> None:
    for path in (_ROLES / role / "templates").glob("*.conf.j2"):
        assert not re.search(r"^Exec(StartPre|StartPost|StopPost)=", path.read_text(), re.MULTILINE)
