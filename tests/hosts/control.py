"""A control machine: an inventory, and the playbooks run from it as an operator does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.servers.process import require

PLAYBOOKS = Path(__file__).parents[2] / "ops" / "ansible"

_RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=\d+ +failed=\d+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Played:
    """How a playbook ended.

    Attributes:
        code: The exit code.
        changed: How many tasks changed something, by host.
        output: All that it wrote.
    """

    code: int
    changed: Mapping[str, int]
    output: str


@dataclass(frozen=True, slots=True)
class Control:
    """Where an operator works.

    Attributes:
        folder: With the inventory, and the home of whoever runs the playbooks.
    """

    folder: Path

    @property
    def inventory(self) -> Path:
        """The inventory's folder."""
        return self.folder / "inventory"

    def write(self, hosts: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        """Write the inventory; YAML is a superset of JSON."""
        everyone = self.inventory / "group_vars" / "all"
        everyone.mkdir(parents=True, exist_ok=True)
        (self.inventory / "hosts.yml").write_text(json.dumps(hosts))
        (everyone / "main.yml").touch(mode=0o600)
        (everyone / "main.yml").write_text(json.dumps(variables))

    def start(self, playbook: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a playbook."""
        program = Path(sys.executable).with_name("ansible-playbook")
        require([str(program)], "pip install '.[hosts]'")
        return subprocess.Popen(
            [program, "--inventory", self.inventory, PLAYBOOKS / playbook, *arguments],
            cwd=PLAYBOOKS,
            env={
                "PATH": f"{program.parent}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "LC_ALL": "C.UTF-8",
                # Of this machine's way to the packages, which may be through a proxy.
                **{
                    name: os.environ[name]
                    for name in ("PIP_CERT", "SSL_CERT_FILE")
                    if name in os.environ
                },
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def play(self, playbook: str, *arguments: str, timeout: float = 1500.0) -> Played:
        """Run a playbook to its end."""
        with self.start(playbook, *arguments) as process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return played(process.returncode, output)


def played(code: int, output: str) -> Played:
    """Read what a playbook wrote."""
    recap: Sequence[tuple[str, str]] = _RECAP.findall(output)
    return Played(code, {host: int(changed) for host, changed in recap}, output)
