#!/usr/bin/python
"""Ansible module: the SHA256SUMS of models on the control machine, with a cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
module: model_sums
short_description: Computes the SHA-256 sums of model folders
description:
  - Runs on the control machine. A file is hashed again only after a change of its size or times.
  - Hidden files and folders are left out (C(.git), the C(.cache) of a download). Links are
    followed.
  - The files of a folder with a C(SHA256SUMS) must match it.
options:
  source: {description: The folder of all models, type: path, required: true}
  names:
    description: Folders in it, such as C(large-v3) or C(align/en).
    type: list
    elements: str
    required: true
  cache: {description: The folder of the cache, type: path, required: true}
"""
EXAMPLES = r"""
- model_sums: {source: /srv/models, names: [large-v3], cache: ~/.cache/dropscribe/models}
"""
RETURN = r"""
models:
  description: For each name its C(digest) (12 hexadecimal digits), C(sums) and C(bytes)
  type: list
"""

SUMS = "SHA256SUMS"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*", re.ASCII)
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class ModelSourceError(Exception):
    """A model cannot be sent; the message states the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model on the control machine.

    Attributes:
        name: Its folder under ``MODELS_ROOT``.
        digest: The first 12 hexadecimal digits of the SHA-256 of its sums.
        sums: A line per file in the form of ``sha256sum``, sorted.
        bytes: The size of all files.
    """

    name: str
    digest: str
    sums: str
    bytes: int


def take(source: Path, name: str, cache: Path) -> Model:
    """Compute a model's sums.

    Raises:
        ModelSourceError: It is missing or empty, or differs from its ``SHA256SUMS``.
    """
    if not _NAME.fullmatch(name):
        raise ModelSourceError(
            f"{name!r} is not a valid model name: use letters, digits, '.', '_', '-' and '/'"
        )
    folder = source / name
    if not folder.is_dir():
        raise ModelSourceError(
            f"there is no model {name} on the control machine: {folder} is not a folder"
        )
    files = sorted(_files(folder))
    if not files:
        raise ModelSourceError(f"the model {name} is empty: there is no file in {folder}")
    with _remembered(cache, folder) as known:
        sums = {path: _sum(folder / path, path, known) for path in files}
    _agree(folder, sums)
    text = "".join(f"{value}  {path}\n" for path, value in sums.items())
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Model(name, digest, text, sum((folder / path).stat().st_size for path in files))


def _files(folder: Path) -> Iterator[str]:
    """List a model's files, relative to its folder."""
    for path, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for each in names:
            file = Path(path, each)
            relative = str(file.relative_to(folder))
            if each.startswith(".") or relative == SUMS:
                continue
            if not file.is_file() or not relative.isprintable() or "\\" in relative:
                raise ModelSourceError(f"{str(file)!r} cannot be sent: move it away")
            yield relative


def _sum(file: Path, key: str, known: dict[str, list[Any]]) -> str:
    """Hash a file, unless the cache has it: its size, its two times, and its sum."""
    status = file.stat()
    seen = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    if known.get(key, [])[:3] != seen:
        with file.open("rb") as content:
            known[key] = [*seen, hashlib.file_digest(content, "sha256").hexdigest()]
    return str(known[key][3])


@contextmanager
def _remembered(cache: Path, folder: Path) -> Iterator[dict[str, list[Any]]]:
    """Open the cache of a folder, locked against the tasks of other hosts."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}.json"
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        try:
            known: dict[str, list[Any]] = json.load(file)
        except ValueError:
            known = {}
        yield known
        file.seek(0)
        file.truncate()
        json.dump(known, file)


def _agree(folder: Path, sums: Mapping[str, str]) -> None:
    """Compare a model with its own ``SHA256SUMS``."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        found = _LINE.fullmatch(line)
        if found and sums.get(found[2].removeprefix("./")) != found[1]:
            raise ModelSourceError(
                f"{folder / found[2]} differs from {folder / SUMS}: fetch the model again, or"
                " delete that file if the model was changed on purpose"
            )


def main() -> None:
    """Run the module."""
    # Ansible finds this import here too; the functions above work without it.
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "cache": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    source, cache = Path(module.params["source"]), Path(module.params["cache"])
    try:
        models = [take(source, name, cache) for name in module.params["names"]]
    except (ModelSourceError, OSError) as exc:
        module.fail_json(msg=str(exc))
    else:
        module.exit_json(changed=False, models=list(map(asdict, models)))


if __name__ == "__main__":
    main()
