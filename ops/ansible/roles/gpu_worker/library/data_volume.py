#!/usr/bin/python
"""Ansible module: a whole block device as a data volume, made, adopted or grown; never wiped."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DOCUMENTATION = r"""
module: data_volume
short_description: Makes, adopts or grows the filesystem on a whole block device
description:
  - Makes a filesystem on a device that is empty, and recognises one that it made before by its
    label and by a file in it.
  - Refuses a device with anything else on it (filesystem, partition table, LVM, RAID, LUKS, swap,
    or bytes that are not zero), and names what that is.
options:
  device: {description: The block device, type: path, required: true}
  mount_point: {description: Where it is mounted or will be, type: path, required: true}
  filesystem: {description: What to make, choices: [ext4, xfs], default: ext4}
  label: {description: The filesystem's label, type: str, default: dropscribe}
  state:
    description: C(formatted) makes or adopts; C(grown) makes it as large as its device.
    choices: [formatted, grown]
    default: formatted
"""
EXAMPLES = r"""
- data_volume: {device: /dev/vdb, mount_point: /srv/dropscribe}
"""
RETURN = r"""
uuid: {description: The filesystem's UUID; empty in check mode while there is none, type: str}
filesystem: {description: Its type, type: str}
"""

#: The file in a filesystem's root that says whose it is.
MARKER = ".dropscribe-volume"
_MARK = "The data volume of a dropscribe host, made by its role gpu_worker.\n"

_MAKE = {"ext4": ["mkfs.ext4", "-q", "-m", "1"], "xfs": ["mkfs.xfs", "-q"]}

#: How each is mounted to look into it without writing to the device.
_LOOK = {"ext4": "ro,noload", "xfs": "ro,norecovery"}

#: What an empty device is read for: its begin, its end, and as many places in between.
_HEAD, _TAIL, _PLACES, _PLACE = 16 << 20, 1 << 20, 64, 4 << 10

#: Bytes at a device's end that neither filesystem can always use.
_MARGIN = 16 << 20


class RefusedError(Exception):
    """The device is not for us; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What ``wipefs`` recognises on a device."""

    type: str
    label: str = ""
    uuid: str = ""

    def __str__(self) -> str:
        return f"{self.type} labelled {self.label!r}" if self.label else self.type


def call(*argv: str) -> str:
    """Run a program.

    Raises:
        RefusedError: It failed.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        argv, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise RefusedError(f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def whole_device(path: str) -> str:
    """Follow links to a block device that is no partition and can be written to.

    Raises:
        RefusedError: It is none.
    """
    device = os.path.realpath(path)
    if not Path(device).exists():
        disks = call("lsblk", "--nodeps", "--noheadings", "--paths", "--output", "NAME,SIZE")
        there = "; ".join(" ".join(line.split()) for line in disks.splitlines())
        raise RefusedError(
            f"there is no {path} on this host: attach the volume, or set gpu_worker_volume_device"
            f" to another device or to none. Block devices here: {there or 'none'}"
        )
    status = Path(device).stat()
    if not stat.S_ISBLK(status.st_mode):
        raise RefusedError(f"{path} is not a block device")
    numbers = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    if Path(f"/sys/dev/block/{numbers}/partition").exists():
        raise RefusedError(f"{path} is a partition: give the whole device, which can grow")
    if call("blockdev", "--getro", device).strip() == "1":
        raise RefusedError(f"{path} is read-only")
    return device


def signatures(device: str) -> Sequence[Signature]:
    """Ask ``wipefs`` what is on a device, without a change of it."""
    out = call("wipefs", "--no-act", "--json", "--output", "TYPE,LABEL,UUID", device)
    found = json.loads(out)["signatures"] if out.strip() else []
    return [
        Signature(each["type"], each.get("label") or "", each.get("uuid") or "") for each in found
    ]


def first_byte(device: str) -> int | None:
    """Say where a device is not zero; None if it is empty as far as can be told in a moment."""
    with open(device, "rb", buffering=0) as file:  # noqa: PTH123 - a device
        size = file.seek(0, os.SEEK_END)
        step = max(size // _PLACES, _PLACE)
        places = [(0, _HEAD), *((at, _PLACE) for at in range(0, size, step))]
        for at, length in [*places, (max(0, size - _TAIL), _TAIL)]:
            file.seek(at)
            block = file.read(min(length, size - at))
            if rest := block.lstrip(b"\0"):
                return at + len(block) - len(rest)
    return None


def users(device: str) -> Sequence[str]:
    """Name what is on top of a device, such as partitions or logical volumes."""
    listed = json.loads(
        call("lsblk", "--json", "--paths", "--output", "NAME,TYPE,MOUNTPOINTS", device)
    )
    children = listed["blockdevices"][0].get("children", [])
    return [f"{each['type']} {each['name']}" for each in children]


def mounts(device: str) -> Sequence[str]:
    """Say where a device is mounted."""
    done = json.loads(call("lsblk", "--json", "--nodeps", "--output", "MOUNTPOINTS", device))
    return [each for each in done["blockdevices"][0]["mountpoints"] if each]


@contextmanager
def looked_into(device: str, options: str) -> Iterator[Path]:
    """Mount a device for a moment, out of the way."""
    with tempfile.TemporaryDirectory(prefix="data-volume-") as folder:
        call("mount", "-o", f"{options},nodev,nosuid,noexec", device, folder)
        try:
            yield Path(folder)
        finally:
            call("umount", folder)


def is_ours(folder: Path) -> bool:
    """Tell whether a filesystem bears the mark, or is as empty as one just made."""
    names = {each.name for each in folder.iterdir()} - {"lost+found"}
    return MARKER in names or not names


def foreign(device: str, what: str) -> RefusedError:
    """Say what is in the way on a device, and what the operator can do."""
    return RefusedError(
        f"{device} holds {what}. Nothing was changed: only an empty device is formatted. Set"
        " gpu_worker_volume_device to another, or, if nothing on it is needed, empty it:"
        f" wipefs --all {device} && blkdiscard --zeroout {device}"
    )


def existing(device: str, mount_point: str, label: str) -> Signature | None:
    """Find our filesystem on a device; None on one that is empty.

    Raises:
        RefusedError: Something else is there, or at the mount point.
    """
    if os.path.ismount(mount_point) and Path(mount_point).stat().st_dev != _number(device):
        raise RefusedError(
            f"something else than {device} is mounted at {mount_point}: `findmnt` says"
        )
    if above := users(device):
        raise foreign(device, ", ".join(above))
    found = signatures(device)
    if not found:
        if (at := first_byte(device)) is not None:
            raise foreign(device, f"data of an unknown kind (at byte {at})")
        return None
    if len(found) > 1 or found[0].type not in _MAKE or found[0].label != label:
        raise foreign(device, " and ".join(sorted({str(each) for each in found})))
    (ours,) = found
    where = mounts(device)
    if set(where) - {mount_point}:
        raise RefusedError(f"{device} is mounted at {', '.join(where)}: unmount it first")
    if where:
        marked = is_ours(Path(mount_point))
    else:
        with looked_into(device, _LOOK[ours.type]) as folder:
            marked = is_ours(folder)
    if not marked:
        raise foreign(device, f"{ours} with files, but without {MARKER}, so of another maker")
    return ours


def make(device: str, filesystem: str, label: str) -> Signature:
    """Make a filesystem on an empty device, and mark it.

    Raises:
        RefusedError: Something has the device open for itself.
    """
    try:
        # The kernel lends a device to one at a time: to a mount, to RAID, to LVM, or to this.
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError as exc:
        raise RefusedError(f"{device} is in use: {exc.strerror}") from exc
    call(*_MAKE[filesystem], "-L", label, device)
    mark(device)
    (made,) = signatures(device)
    return made


def mark(device: str) -> None:
    """Write into an unmounted filesystem whose it is."""
    with looked_into(device, "rw") as folder:
        (folder / MARKER).write_text(_MARK)


def formatted(
    device: str, mount_point: str, filesystem: str, label: str, *, dry: bool
) -> tuple[bool, Signature]:
    """Have our filesystem on a device.

    Returns:
        Whether that changes it, and the filesystem, whose UUID is empty if it is yet to be made.

    Raises:
        RefusedError: The device is not for us.
    """
    device = whole_device(device)
    if found := existing(device, mount_point, label):
        return False, found
    return True, Signature(filesystem, label) if dry else make(device, filesystem, label)


def grown(device: str, mount_point: str, *, dry: bool) -> tuple[bool, Signature]:
    """Make a mounted filesystem as large as its device."""
    device = whole_device(device)
    (found,) = signatures(device)
    before = filesystem_bytes(found.type, device, mount_point)
    if int(call("blockdev", "--getsize64", device)) - before < _MARGIN:
        return False, found
    if dry:
        return True, found
    call(*(["resize2fs", device] if found.type == "ext4" else ["xfs_growfs", mount_point]))
    return filesystem_bytes(found.type, device, mount_point) > before, found


def filesystem_bytes(kind: str, device: str, mount_point: str) -> int:
    """Ask a filesystem for its size."""
    if kind == "ext4":
        said = dict(
            line.split(":", 1)
            for line in call("dumpe2fs", "-h", device).splitlines()
            if ":" in line
        )
        return int(said["Block count"]) * int(said["Block size"])
    found = re.search(
        r"^data\s+=\s*bsize=(\d+)\s+blocks=(\d+)", call("xfs_info", mount_point), re.MULTILINE
    )
    if not found:
        raise RefusedError(f"xfs_info does not say how large {mount_point} is")
    return int(found[1]) * int(found[2])


def _number(device: str) -> int:
    return Path(device).stat().st_rdev


def main() -> None:
    """Do what the task says."""
    # Found by Ansible here, too; the functions above can be used without it.
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

    module = AnsibleModule(
        argument_spec={
            "device": {"type": "path", "required": True},
            "mount_point": {"type": "path", "required": True},
            "filesystem": {"choices": ["ext4", "xfs"], "default": "ext4"},
            "label": {"type": "str", "default": "dropscribe"},
            "state": {"choices": ["formatted", "grown"], "default": "formatted"},
        },
        supports_check_mode=True,
    )
    given, dry = module.params, module.check_mode
    device, mount_point = given["device"], given["mount_point"]
    try:
        if given["state"] == "grown":
            changed, volume = grown(device, mount_point, dry=dry)
        else:
            changed, volume = formatted(
                device, mount_point, given["filesystem"], given["label"], dry=dry
            )
    except RefusedError as exc:
        module.fail_json(msg=str(exc))
    else:
        module.exit_json(changed=changed, uuid=volume.uuid, filesystem=volume.type)


if __name__ == "__main__":
    main()
