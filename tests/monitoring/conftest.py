"""The role's files, written by Ansible for hosts that an inventory names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.certificates import certify
from tests.monitoring.tools import ROOT

Render = Callable[[str], Path]


@pytest.fixture(scope="session")
def render(tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Gives a folder with a folder for each host of an inventory; each is rendered once."""
    done: dict[str, Path] = {}

    def rendered(inventory: str) -> Path:
        if inventory not in done:
            done[inventory] = _render(inventory, tmp_path_factory.mktemp(inventory))
        return done[inventory]

    return rendered


def _render(inventory: str, folder: Path) -> Path:
    credentials = folder / "credentials" / "prometheus.service"
    credentials.mkdir(parents=True)
    certificate, key = certify(credentials, "prometheus")
    certificate.rename(credentials / "certificate.pem")
    key.rename(credentials / "key.pem")
    (credentials / "ca.pem").write_bytes((credentials / "certificate.pem").read_bytes())
    here = Path(__file__).parent
    program = Path(sys.executable).with_name("ansible-playbook")
    assert program.exists(), "ansible is not installed: pip install '.[hosts]'"
    run = subprocess.run(
        [
            *(program, "-i", here / f"{inventory}.yml", here / "render.yml", "--tags", "render"),
            *("-e", f"folder={folder}", "-e", f"monitoring_credentials={credentials.parent}"),
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ops/ansible/ansible.cfg"),
            "ANSIBLE_BECOME": "false",
            "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    return folder
