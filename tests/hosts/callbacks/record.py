"""Ansible callback: what each task returned, as JSON Lines, beside what is shown to people.

It also has the runs of a session share the packed modules: Ansible packs each module with
what it imports, which takes more time than most tasks, and keeps that for one run only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: record
    type: aggregate
    short_description: writes what each task returned to the file that RECORD_FILE names
    description:
      - A line for each task of a host that ran, with what no_log hides left out.
      - The folder that PACKED_MODULES names keeps packed modules for later runs.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Writes a line when a task of a host is over."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Give this run the modules that earlier ones packed."""
        own = Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
        own.symlink_to(os.environ["PACKED_MODULES"])

    def v2_runner_on_ok(self, result: Any) -> None:
        """Write what succeeded."""
        self._write(result, is_failed=False)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Write what failed."""
        self._write(result, is_failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Write what was not reached."""
        self._write(result, is_failed=True)

    def _write(self, result: Any, *, is_failed: bool) -> None:
        returned = json.loads(self._dump_results(result.result))
        name = str(result.task.get_name()).rpartition(" : ")[2]
        line = {"name": name, "failed": is_failed, "returned": returned}
        with Path(os.environ["RECORD_FILE"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
