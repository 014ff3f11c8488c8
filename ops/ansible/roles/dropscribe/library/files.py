#!/usr/bin/python
"""Ansible module: several files of one folder, with their content, in one run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
module: files
short_description: Writes several files of one folder
description: Like M(ansible.builtin.copy) with O(content) and a loop, in one run of a module.
options:
  folder: {description: Where they are, type: path, required: true}
  files: {description: Content by name; a name may have folders in it, type: dict, required: true}
  owner: {description: Of each, type: str, default: root}
  group: {description: Of each, type: str, default: root}
  mode: {description: Of each, type: str, default: "0644"}
"""
EXAMPLES = r"""
- files:
    folder: /etc/dropscribe/credentials
    files: {unpack/s3-secret-key: "..."}
    mode: "0600"
  no_log: true
"""
RETURN = r"""
written: {description: Files whose content was missing or another, type: list, elements: str}
"""


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None


def main() -> None:
    """Run the module."""
    # Ansible finds this import.
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0644"},
        },
        supports_check_mode=True,
    )

    def attributes(path: str | Path) -> Any:
        return module.load_file_common_arguments({**module.params, "path": str(path)})

    written: list[str] = []
    changed = False
    diffs: list[dict[str, Any]] = []
    for name, content in module.params["files"].items():
        path = Path(module.params["folder"], name)
        try:
            before = _read(path)
            if before == content:
                diff: dict[str, Any] = {
                    "before": {"path": str(path)},
                    "after": {"path": str(path)},
                }
                if module.set_fs_attributes_if_different(
                    attributes(path), changed=False, diff=diff
                ):
                    changed = True
                    diffs.append(diff)
                continue
            written.append(str(path))
            diffs.append(
                {
                    "before_header": str(path),
                    "after_header": str(path),
                    "before": before or "",
                    "after": content,
                }
            )
            if module.check_mode:
                continue
            # Under its name it has its mode from the beginning.
            number, temporary = tempfile.mkstemp(dir=path.parent)
            module.add_cleanup_file(temporary)
            with os.fdopen(number, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(content)
            module.set_fs_attributes_if_different(attributes(temporary), changed=False)
            Path(temporary).replace(path)
        except OSError as exc:
            module.fail_json(msg=f"{path} cannot be written: {exc}")
    module.exit_json(changed=changed or bool(written), written=written, diff=diffs)


if __name__ == "__main__":
    main()
