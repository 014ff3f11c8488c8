"""A control machine: an inventory, and the playbooks run from it as an operator does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.servers.process import require
from tests.hosts.machine import SSH_PORT, Machine

PLAYBOOKS = Path(__file__).parents[2] / "ops" / "ansible"

_CALLBACKS = Path(__file__).with_name("callbacks")


@dataclass(frozen=True, slots=True)
class Played:
    """How a playbook ended.

    Attributes:
        code: The exit code of ``ansible-playbook``.
        changed: The names of the tasks and handlers that changed something, on any host.
        failed: What the tasks said that failed; empty if none did.
        results: What each task returned, by its name; the last one that was not skipped.
        output: All that it showed.
    """

    code: int
    changed: Sequence[str]
    failed: str
    results: Mapping[str, Mapping[str, Any]]
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

    def write(self, hosts: Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> None:
        """Write the inventory: its hosts, and variables of all of them."""
        self.inventory.mkdir(parents=True, exist_ok=True)
        # YAML is a superset of JSON.
        (self.inventory / "hosts.yml").write_text(json.dumps(hosts))
        self.set_variables(variables or {})

    def set_variables(self, variables: Mapping[str, Any]) -> None:
        """Write the variables of all hosts anew."""
        path = self.inventory / "group_vars" / "all" / "main.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(variables))

    def compose(self, playbook: str, *roles: str) -> None:
        """Write a playbook that runs roles on all hosts; it is found by its name."""
        play = {"hosts": "all", "become": True, "roles": roles}
        (self.folder / playbook).write_text(json.dumps([play]))

    @contextmanager
    def running(self, playbook: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start a playbook in its own session, and end its remains."""
        program = self.program("ansible-playbook")
        composed = self.folder / playbook
        with subprocess.Popen(
            [
                program,
                f"--inventory={self.inventory}",
                composed if composed.exists() else PLAYBOOKS / playbook,
                *arguments,
            ],
            cwd=PLAYBOOKS,
            env=self._environment(program),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def play(
        self,
        playbook: str,
        *arguments: str,
        given: Mapping[str, Any] | None = None,
        timeout: float = 3000.0,
    ) -> Played:
        """Run a playbook to its end.

        Args:
            playbook: The name of one that ``compose`` wrote, or of one in ``ops/ansible``.
            arguments: Of ``ansible-playbook``.
            given: Variables of all hosts, which are written to the inventory before.
            timeout: Seconds.
        """
        if given is not None:
            self.set_variables(given)
        self._record.unlink(missing_ok=True)
        with self.running(playbook, *arguments) as process:
            output, _ = process.communicate(timeout=timeout)
        return self._played(process.returncode, output)

    def program(self, name: str) -> Path:
        """Find one of Ansible's programs, beside this Python."""
        program = Path(sys.executable).with_name(name)
        require([str(program)], "pip install '.[hosts]'")
        return program

    @property
    def _record(self) -> Path:
        return self.folder / "record.jsonl"

    def _environment(self, program: Path) -> Mapping[str, str]:
        # For this machine's way to packages, which may lead through a proxy.
        kept = ("PIP_CERT", "SSL_CERT_FILE")
        return {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            # A socket's path has 107 characters at most, and a test's folder most of them.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{tempfile.gettempdir()}/ssh-{os.getpid()}",
            "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "RECORD_FILE": str(self._record),
            "PACKED_MODULES": os.environ["PACKED_MODULES"],
            **{name: os.environ[name] for name in kept if name in os.environ},
        }

    def _played(self, code: int, output: str) -> Played:
        assert self._record.exists(), f"ansible-playbook ended with {code}:\n{output}"
        tasks = [json.loads(line) for line in self._record.read_text().splitlines()]
        return Played(
            code,
            [task["name"] for task in tasks if task["returned"].get("changed")],
            "".join(
                str(task["returned"].get("msg") or task["returned"])
                for task in tasks
                if task["failed"]
            ),
            {task["name"]: task["returned"] for task in tasks},
            output,
        )


def reached(host: Machine) -> dict[str, Any]:
    """Ansible's variables for reaching a host."""
    return {
        "ansible_host": host.address,
        "ansible_port": SSH_PORT,
        "ansible_user": "root",
        "ansible_ssh_common_args": " ".join(host.access.options),
    }
