#!/usr/bin/python
"""Ansible module: formats or adopts a whole block device as a data volume; never wipes one.

Ours, because community.general.filesystem runs mkfs with force on every device on which blkid
finds no filesystem, such as a partition table or raw data, and adopts any filesystem of the same
type. It does grow the volume.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DOCUMENTATION = r"""
module: data_volume
short_description: Formats or adopts a whole block device
description:
  - Formats an empty device, and recognises its own filesystem by its label and a file in it.
  - Refuses a device with any other content (filesystem, partition table, LVM, RAID, LUKS, swap,
    or bytes that are not zero), and names it.
options:
  device: {description: The block device, type: path, required: true}
  mount_point: {description: Its present or future mount point, type: path, required: true}
  filesystem: {description: The type of a new filesystem, choices: [ext4, xfs], default: ext4}
  label: {description: The filesystem's label, type: str, default: dropscribe}
"""
EXAMPLES = r"""
- data_volume: {device: /dev/vdb, mount_point: /srv/dropscribe}
"""
RETURN = r"""
uuid: {description: The filesystem's UUID; empty in check mode while there is none, type: str}
filesystem: {description: Its type, type: str}
"""

#: The file in a filesystem's root that marks it as ours.
MARKER = ".dropscribe-volume"
_MARK = "The data volume of a dropscribe host, made by its role gpu_worker.\n"

_MAKE = {"ext4": ["mkfs.ext4", "-q", "-m", "1"], "xfs": ["mkfs.xfs", "-q"]}

#: Mount options for a look into it that does not write to the device.
_LOOK = {"ext4": "ro,noload", "xfs": "ro,norecovery"}

#: The parts read of a device to find it empty: its start, its end, and places in between.
_HEAD, _TAIL, _PLACES, _PLACE = 16 << 20, 1 << 20, 64, 4 << 10


class DeviceRefusedError(Exception):
    """The device cannot be used; the message states the reason and the remedy.

    Any function here may raise it.
    """


@dataclass(frozen=True, slots=True)
class VolumeSignature:
    """A signature that ``wipefs`` finds on a device."""

    type: str
    label: str = ""
    uuid: str = ""

    def __str__(self) -> str:
        return f"{self.type} labelled {self.label!r}" if self.label else self.type


def call(*argv: str) -> str:
    """Run a program."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        argv, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise DeviceRefusedError(
            f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout


def whole_device(path: str) -> str:
    """Resolve a path to a writable block device that is not a partition."""
    device = os.path.realpath(path)
    if not Path(device).exists():
        disks = call("lsblk", "--nodeps", "--noheadings", "--paths", "--output", "NAME,SIZE")
        there = "; ".join(" ".join(line.split()) for line in disks.splitlines())
        raise DeviceRefusedError(
            f"there is no {path} on this host: attach the volume, or set gpu_worker_volume_device"
            f" to another device or to none. Block devices here: {there or 'none'}"
        )
    status = Path(device).stat()
    if not stat.S_ISBLK(status.st_mode):
        raise DeviceRefusedError(f"{path} is not a block device")
    numbers = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    if Path(f"/sys/dev/block/{numbers}/partition").exists():
        raise DeviceRefusedError(f"{path} is a partition: give the whole device, which can grow")
    if call("blockdev", "--getro", device).strip() == "1":
        raise DeviceRefusedError(f"{path} is read-only")
    return device


def signatures(device: str) -> Sequence[VolumeSignature]:
    """List the signatures on a device, without changing it."""
    out = call("wipefs", "--no-act", "--json", "--output", "TYPE,LABEL,UUID", device)
    found = json.loads(out)["signatures"] if out.strip() else []
    return [
        VolumeSignature(each["type"], each.get("label") or "", each.get("uuid") or "")
        for each in found
    ]


def first_byte(device: str) -> int | None:
    """Return the offset of a byte that is not zero; None if the sampled parts have none."""
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


@contextmanager
def looked_into(device: str, options: str) -> Iterator[Path]:
    """Mount a device on a temporary folder for the block."""
    with tempfile.TemporaryDirectory(prefix="data-volume-") as folder:
        call("mount", "-o", f"{options},nodev,nosuid,noexec", device, folder)
        try:
            yield Path(folder)
        finally:
            call("umount", folder)


def is_ours(folder: Path) -> bool:
    """Whether a filesystem has the marker, or is as empty as a new one."""
    names = {each.name for each in folder.iterdir()} - {"lost+found"}
    return MARKER in names or not names


def foreign(device: str, what: str) -> DeviceRefusedError:
    """Make the error for foreign content on a device."""
    return DeviceRefusedError(
        f"{device} holds {what}. Nothing was changed: only an empty device is formatted. Set"
        " gpu_worker_volume_device to another, or, if nothing on it is needed, empty it:"
        f" wipefs --all {device} && blkdiscard --zeroout {device}"
    )


def existing(device: str, mount_point: str, label: str) -> VolumeSignature | None:
    """Find our filesystem on a device; None on an empty one."""
    number = Path(device).stat().st_rdev
    if os.path.ismount(mount_point) and Path(mount_point).stat().st_dev != number:
        raise DeviceRefusedError(
            f"another device than {device} is mounted at {mount_point}: see `findmnt`"
        )
    out = call("lsblk", "--json", "--paths", "--output", "NAME,TYPE,MOUNTPOINTS", device)
    listed = json.loads(out)["blockdevices"][0]
    if above := listed.get("children"):
        # Such as partitions or logical volumes.
        raise foreign(device, ", ".join(f"{each['type']} {each['name']}" for each in above))
    found = signatures(device)
    if not found:
        if (at := first_byte(device)) is not None:
            raise foreign(device, f"data of an unknown kind (at byte {at})")
        return None
    if len(found) > 1 or found[0].type not in _MAKE or found[0].label != label:
        raise foreign(device, " and ".join(sorted({str(each) for each in found})))
    (ours,) = found
    where = [each for each in listed["mountpoints"] if each]
    if set(where) - {mount_point}:
        raise DeviceRefusedError(f"{device} is mounted at {', '.join(where)}: unmount it first")
    if where:
        marked = is_ours(Path(mount_point))
    else:
        with looked_into(device, _LOOK[ours.type]) as folder:
            marked = is_ours(folder)
    if not marked:
        raise foreign(device, f"{ours} with files, but without {MARKER}, so of another maker")
    return ours


def make(device: str, filesystem: str, label: str) -> VolumeSignature:
    """Make a filesystem on an empty device, and mark it."""
    try:
        # Mounts, RAID and LVM hold a device exclusively.
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError as exc:
        raise DeviceRefusedError(f"{device} is in use: {exc.strerror}") from exc
    call(*_MAKE[filesystem], "-L", label, device)
    with looked_into(device, "rw") as folder:
        (folder / MARKER).write_text(_MARK)
    (made,) = signatures(device)
    return made


def formatted(
    device: str, mount_point: str, filesystem: str, label: str, *, dry: bool
) -> tuple[bool, VolumeSignature]:
    """Format or adopt a device.

    Returns:
        Whether that changes it, and the filesystem, whose UUID is empty if ``dry`` and new.
    """
    device = whole_device(device)
    if found := existing(device, mount_point, label):
        return False, found
    return True, VolumeSignature(filesystem, label) if dry else make(device, filesystem, label)


def main() -> None:
    """Run the module."""
    # Ansible finds this import here too; the functions above work without it.
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

    module = AnsibleModule(
        argument_spec={
            "device": {"type": "path", "required": True},
            "mount_point": {"type": "path", "required": True},
            "filesystem": {"choices": ["ext4", "xfs"], "default": "ext4"},
            "label": {"type": "str", "default": "dropscribe"},
        },
        supports_check_mode=True,
    )
    try:
        changed, volume = formatted(**module.params, dry=module.check_mode)
    except DeviceRefusedError as exc:
        module.fail_json(msg=str(exc))
    else:
        module.exit_json(changed=changed, uuid=volume.uuid, filesystem=volume.type)


if __name__ == "__main__":
    main()
