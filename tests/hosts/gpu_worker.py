"""The role gpu_worker, run on a host over SSH as an operator runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.servers.process import require
from tests.hosts.machine import Machine

_PLAYBOOKS = Path(__file__).parents[2] / "ops" / "ansible"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of a playbook ended.

    Attributes:
        code: The exit code of ``ansible-playbook``.
        changed: The names of the tasks and handlers that changed something.
        failed: What the task said that failed; empty if none did.
        results: What each task returned, by its name; the last one that was not skipped.
    """

    code: int
    changed: Sequence[str]
    failed: str
    results: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Operator:
    """A control machine's folder with an inventory of one host.

    Attributes:
        folder: Where the inventory is.
        host: The host.
    """

    folder: Path
    host: Machine

    def apply(self, variables: Mapping[str, object], *arguments: str) -> Outcome:
        """Run the role."""
        with self.running("role.yml", variables, *arguments) as process:
            out, error = process.communicate(timeout=600)
        return _read(process.returncode, out, error)

    def sync(self, variables: Mapping[str, object], *arguments: str) -> Outcome:
        """Run ``sync-models.yml``."""
        with self.running(str(_PLAYBOOKS / "sync-models.yml"), variables, *arguments) as process:
            out, error = process.communicate(timeout=600)
        return _read(process.returncode, out, error)

    @contextmanager
    def running(
        self, playbook: str, variables: Mapping[str, object], *arguments: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a playbook in a session of its own; what is left of it is ended."""
        program = Path(sys.executable).with_name("ansible-playbook")
        require([str(program)], "pip install '.[hosts]'")
        self._write(variables)
        process = subprocess.Popen(
            [program, "--inventory", "hosts.json", playbook, *arguments],
            cwd=self.folder,
            env={
                "PATH": f"{program.parent}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_CONFIG": str(_PLAYBOOKS / "ansible.cfg"),
                "ANSIBLE_ROLES_PATH": str(_PLAYBOOKS / "roles"),
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                "ANSIBLE_LOCALHOST_WARNING": "false",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def _write(self, variables: Mapping[str, object]) -> None:
        reached = {
            "ansible_host": self.host.address,
            "ansible_port": 2222,
            "ansible_user": "root",
            "ansible_ssh_common_args": " ".join(self.host.access.options),
            "gpu_worker_gpu": "none",
        }
        hosts = {"gpu_workers": {"hosts": {self.host.name: {**reached, **variables}}}}
        (self.folder / "hosts.json").write_text(json.dumps(hosts))
        (self.folder / "role.yml").write_text(
            "- hosts: gpu_workers\n  become: true\n  roles: [gpu_worker]\n"
        )


def _read(code: int, out: str, error: str) -> Outcome:
    try:
        plays = json.loads(out[out.index("{") :])["plays"]
    except ValueError as exc:
        raise AssertionError(f"ansible-playbook ended with {code}:\n{out}\n{error}") from exc
    tasks = [
        (task["task"]["name"].rpartition(" : ")[2], result)
        for play in plays
        for task in play["tasks"]
        for result in task["hosts"].values()
    ]
    failed = [result.get("msg") or str(result) for _, result in tasks if result.get("failed")]
    return Outcome(
        code,
        [name for name, result in tasks if result.get("changed")],
        "".join(failed),
        {name: result for name, result in tasks if not result.get("skipped")},
    )
