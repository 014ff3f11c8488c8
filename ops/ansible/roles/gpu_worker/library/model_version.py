#!/usr/bin/python
"""Ansible module: checks, switches and prunes the versions of a model on a host.

Under the root::

    large-v3 -> .versions/large-v3-0123456789ab    opened by consumers
    .versions/large-v3-0123456789ab/SHA256SUMS     and the model's files
    .incoming/large-v3-0123456789ab/               files being received
    .records/large-v3-0123456789ab.json            sizes and times when last verified
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

DOCUMENTATION = r"""
module: model_version
short_description: Checks, installs and prunes the versions of a model
description:
  - C(prepared) lists the files to send, and copies those that another version has.
  - C(installed) verifies the received files, and switches to them by renaming a link.
  - C(pruned) removes old versions that no process uses.
options:
  root: {description: The folder of all models, type: path, required: true}
  name: {description: The model's name, type: str, required: true}
  sums: {description: Its SHA256SUMS, type: str, required: true}
  state: {choices: [prepared, installed, pruned], required: true, description: The step}
  bytes: {description: The size of its files (prepared), type: int, default: 0}
  full: {description: Hash all present files (prepared), type: bool, default: false}
  files: {description: The received files (installed), type: list, elements: str, default: []}
  keep: {description: The number of versions to keep (pruned), type: int, default: 2}
"""
EXAMPLES = r"""
- model_version: {root: /srv/dropscribe/models, name: large-v3, sums: "{{ sums }}", state: prepared}
"""
RETURN = r"""
files: {description: Files to install (prepared), type: list}
send: {description: The number of files to send from the control machine (prepared), type: int}
send_list: {description: The host's file with their names for rsync (prepared), type: str}
incoming: {description: The folder to send them to (prepared), type: str}
repaired: {description: Repaired files of an existing version (installed), type: list}
removed: {description: Removed versions (pruned), type: list}
in_use: {description: Old versions kept because a process has them open, type: list}
"""

SUMS = "SHA256SUMS"

#: Bytes that stay free on the volume.
_SPARE = 256 << 20


class ModelInstallError(Exception):
    """A model cannot be installed; the message states the reason and the remedy."""


class Version:
    """A version of a model on this host.

    Attributes:
        root: The folder of all models.
        name: The model.
        sums: The lines of its ``SHA256SUMS``.
        files: The sum of each file.
        id: The name of its folder.
        folder: The folder of its files.
        incoming: The folder that receives them.
        record: The record of their sizes and times when last verified.
        link: The link that consumers open.
        target: The link's target: relative, so that the volume can be mounted elsewhere.
    """

    def __init__(self, root: Path, name: str, sums: str) -> None:
        self.root, self.name, self.sums, self.files = root, name, sums, parse(sums)
        self.id = f"{name}-{hashlib.sha256(sums.encode()).hexdigest()[:12]}"
        self.folder = root / ".versions" / self.id
        self.incoming = root / ".incoming" / self.id
        self.record = root / ".records" / f"{self.id}.json"
        self.link = root / name
        self.target = os.path.relpath(self.folder, self.link.parent)

    @property
    def is_current(self) -> bool:
        """Whether the link leads to this version."""
        return self.link.is_symlink() and str(self.link.readlink()) == self.target

    def beside(self, suffix: str) -> Path:
        """A file beside the folder that receives its files."""
        return self.incoming.with_name(f"{self.incoming.name}.{suffix}")


def parse(sums: str) -> dict[str, str]:
    """Parse lines of ``sha256sum`` to a sum per path."""
    pairs = (line.split("  ", 1) for line in sums.splitlines())
    return {path: value for value, path in pairs}


def digest(file: Path) -> str:
    """Hash a file; empty if it is missing."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return ""


def state_of(file: Path) -> list[int]:
    """Return size and times, of which any write changes one, even one that restores the mtime."""
    try:
        status = file.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def damaged(version: Version, *, full: bool) -> list[str]:
    """Find missing or changed files of an installed version.

    Without ``full``, only files whose size or times differ from the record are hashed.
    """
    try:
        record = json.loads(version.record.read_text())
    except (OSError, ValueError):
        record = {}

    def suspect(path: str) -> bool:
        now = state_of(version.folder / path)
        return full or not now or record.get(path) != now

    return [
        path
        for path, value in version.files.items()
        if suspect(path) and digest(version.folder / path) != value
    ]


class Preparation(NamedTuple):
    """The missing or damaged files, and those of them that the control machine must send."""

    files: Sequence[str]
    send: Sequence[str]


def prepare(version: Version, sizes: int, *, full: bool, dry: bool) -> Preparation:
    """Find missing files, and copy those that another version on this host has.

    ``sizes`` are the bytes of all files. With ``full``, all present files are hashed.

    Raises:
        ModelInstallError: A folder is in the link's place, or the volume is too small.
    """
    if version.link.exists() and not version.link.is_symlink():
        raise ModelInstallError(
            f"{version.link} is not a link, so this role did not create it: move it away"
            " (the control machine sends the model), then run this again"
        )
    files = damaged(version, full=full) if version.folder.is_dir() else list(version.files)
    have = [path for path in files if digest(version.incoming / path) == version.files[path]]
    missing = [path for path in files if path not in have]
    elsewhere = _elsewhere(version)
    send = [path for path in missing if version.files[path] not in elsewhere]
    if files and not version.folder.is_dir():
        _room(version, sizes)
    if dry or not files:
        return Preparation(files, send)
    _drop_stale(version)
    version.incoming.mkdir(parents=True, exist_ok=True)
    (version.root / ".incoming").chmod(0o700)
    for path in set(missing).difference(send):
        file = version.incoming / path
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(elsewhere[version.files[path]], file)
        if digest(file) != version.files[path]:
            # The other version is damaged; rsync sends only the difference.
            send.append(path)
    version.beside("files").write_bytes(b"".join(os.fsencode(path) + b"\0" for path in send))
    return Preparation(files, send)


def install(version: Version, files: Sequence[str], *, dry: bool) -> bool:
    """Move received files into the version, switch the link to it, and say if consumers see that.

    Raises:
        ModelInstallError: A received file differs from its sum.
    """
    changed = bool(files) or not version.is_current
    if dry:
        return changed
    if files:
        _accept(version, files)
    record = json.dumps({path: state_of(version.folder / path) for path in version.files})
    if not version.record.exists() or version.record.read_text() != record:
        version.record.parent.mkdir(parents=True, exist_ok=True)
        _replace(version.record, record)
    if not version.is_current:
        _switch(version)
    return changed


def _accept(version: Version, files: Sequence[str]) -> None:
    """Verify received files, and move them into their version."""
    bad = [path for path in files if digest(version.incoming / path) != version.files[path]]
    if bad:
        raise ModelInstallError(
            f"{version.name}: {', '.join(bad)} arrived damaged. Run this again to resend the"
            " difference. If that does not help, a disk or memory is failing"
        )
    for path in files:
        _settle(version.incoming / path)
        # Consumers may be using the version: each file is replaced atomically.
        (version.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (version.incoming / path).replace(version.folder / path)
    _replace(version.folder / SUMS, version.sums)
    for folder, _, _ in os.walk(version.folder):
        Path(folder).chmod(0o755)
    shutil.rmtree(version.incoming)
    version.beside("files").unlink(missing_ok=True)


def _switch(version: Version) -> None:
    """Create a new link beside the models, and rename it over the old one."""
    beside = version.beside("link")
    for path in (version.link, beside):
        path.parent.mkdir(parents=True, exist_ok=True)
    beside.unlink(missing_ok=True)
    beside.symlink_to(version.target)
    beside.replace(version.link)
    _settle(version.link.parent)


def prune(version: Version, keep: int, *, dry: bool) -> tuple[list[str], list[str]]:
    """Remove old versions that no process uses; the current one always stays.

    Returns:
        The removed versions, and those kept because a process has them open.
    """
    current = version.link.resolve()
    old = [each for each in _of_model(version, ".versions") if each.resolve() != current]
    old.sort(key=lambda each: (each / SUMS).stat().st_mtime_ns if (each / SUMS).exists() else 0)
    surplus = old[: max(0, len(old) - (keep - 1))]
    if not surplus:
        return [], []
    opened = set(_opened())
    busy = [each for each in surplus if any(path.is_relative_to(each) for path in opened)]
    gone = [each for each in surplus if each not in busy]
    for each in () if dry else gone:
        shutil.rmtree(each)
        name = str(each.relative_to(version.root / ".versions"))
        (version.root / ".records" / f"{name}.json").unlink(missing_ok=True)
    return [each.name for each in gone], [each.name for each in busy]


def _of_model(version: Version, place: str, suffix: str = "") -> list[Path]:
    """Find the paths of all versions of the model in one of the root's hidden folders."""
    folder = (version.root / place / version.name).parent
    pattern = re.compile(re.escape(Path(version.name).name) + "-[0-9a-f]{12}" + suffix)
    return [each for each in folder.glob("*") if pattern.fullmatch(each.name)]


def _opened() -> Iterator[Path]:
    """List open and mapped files and working directories of all processes."""
    for process in Path("/proc").glob("[0-9]*"):
        # A process can end meanwhile.
        with suppress(OSError):
            yield (process / "cwd").readlink()
            for line in (process / "maps").read_text(errors="replace").splitlines():
                if "/" in line:
                    yield Path(line[line.index("/") :])
            for opened in (process / "fd").iterdir():
                yield opened.readlink()


def _elsewhere(version: Version) -> Mapping[str, Path]:
    """Map sums to files of this model's other versions, as recorded when those were sent."""
    found = {}
    for folder in _of_model(version, ".versions"):
        with suppress(OSError):
            for path, value in parse((folder / SUMS).read_text()).items():
                if folder != version.folder and (folder / path).is_file():
                    found[value] = folder / path
    return found


def _drop_stale(version: Version) -> None:
    """Remove the remains of interrupted runs for other versions."""
    for each in _of_model(version, ".incoming", r"(\.\w+)?"):
        if not each.name.startswith(version.incoming.name):
            shutil.rmtree(each) if each.is_dir() else each.unlink()


def _room(version: Version, sizes: int) -> None:
    """Check that a version fits on the volume."""
    place = version.root
    while not place.exists():
        place = place.parent
    come = sum(each.stat().st_blocks * 512 for each in version.incoming.rglob("*"))
    free = shutil.disk_usage(place).free
    if sizes - come + _SPARE > free:
        raise ModelInstallError(
            f"{version.name} needs {(sizes - come + _SPARE) >> 20} MiB on {place}, where"
            f" {free >> 20} MiB are free: enlarge the volume, or remove old models"
        )


def _replace(file: Path, text: str) -> None:
    """Replace a file atomically."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    _settle(new)
    new.replace(file)


def _settle(path: Path) -> None:
    """Flush a file or folder to the disk, files readable for all."""
    if path.is_file():
        path.chmod(0o644)
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def main() -> None:
    """Run the module."""
    # Ansible finds this import here too; the functions above work without it.
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "sums": {"type": "str", "required": True},
            "bytes": {"type": "int", "default": 0},
            "state": {"choices": ["prepared", "installed", "pruned"], "required": True},
            "full": {"type": "bool", "default": False},
            "files": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "int", "default": 2},
        },
        supports_check_mode=True,
    )
    given, dry = module.params, module.check_mode
    version = Version(Path(given["root"]), given["name"], given["sums"])
    try:
        if given["state"] == "prepared":
            found = prepare(version, given["bytes"], full=given["full"], dry=dry)
            result = {
                "changed": False,
                "files": found.files,
                "send": len(found.send),
                "send_list": str(version.beside("files")),
                "incoming": str(version.incoming),
            }
        elif given["state"] == "installed":
            repaired = given["files"] if version.folder.is_dir() else []
            changed = install(version, given["files"], dry=dry)
            result = {"changed": changed, "version": version.id, "repaired": repaired}
        else:
            removed, in_use = prune(version, given["keep"], dry=dry)
            result = {"changed": bool(removed), "removed": removed, "in_use": in_use}
    except (ModelInstallError, OSError) as exc:
        module.fail_json(msg=str(exc))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
