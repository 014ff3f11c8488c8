#!/usr/bin/python
"""Ansible module: several folders in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
module: folders
short_description: Creates several folders
description: Like M(ansible.builtin.file) with a loop, in one run of a module.
options:
  folders:
    description: Paths, or folders with attributes of their own; parents come first.
    type: list
    elements: raw
    required: true
  owner: {description: Of folders that name no other, type: str, default: root}
  group: {description: Of folders that name no other, type: str, default: root}
  mode: {description: Of folders that name no other, type: str, default: "0755"}
"""
EXAMPLES = r"""
- folders:
    folders: [/etc/dropscribe, {path: /etc/dropscribe/credentials, mode: "0700"}]
"""
RETURN = r"""
created: {description: Folders that were missing, type: list, elements: str}
"""


def main() -> None:
    """Run the module."""
    # Ansible finds this import.
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

    module = AnsibleModule(
        argument_spec={
            "folders": {"type": "list", "elements": "raw", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0755"},
        },
        supports_check_mode=True,
    )
    common = {name: module.params[name] for name in ("owner", "group", "mode")}
    created: list[str] = []
    changed = False
    diffs: list[dict[str, Any]] = []
    for folder in module.params["folders"]:
        wanted = {**common, **(folder if isinstance(folder, dict) else {"path": folder})}
        path = wanted["path"]
        diff: dict[str, Any] = {"before": {"path": path}, "after": {"path": path}}
        if not Path(path).is_dir():
            created.append(path)
            diff["before"]["state"], diff["after"]["state"] = "absent", "directory"
            diffs.append(diff)
            if module.check_mode:
                continue
            try:
                Path(path).mkdir(parents=True)
            except OSError as exc:
                module.fail_json(msg=f"{path} cannot be created: {exc}")
        attributes = module.load_file_common_arguments(wanted)
        if (
            module.set_fs_attributes_if_different(attributes, changed=False, diff=diff)
            and path not in created
        ):
            changed = True
            diffs.append(diff)
    module.exit_json(changed=changed or bool(created), created=created, diff=diffs)


if __name__ == "__main__":
    main()
