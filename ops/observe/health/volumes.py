"""Volumes: free space, and whether they are mounted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.observe.health.context import CheckContext
from ops.observe.health.result import Level, Remark
from ops.wiring.settings import Limits, ModelsSettings, ScratchRootSettings

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Free space of a volume, for users other than root.

    Attributes:
        free: Bytes.
        ratio: The free share, from 0 to 1: of bytes or of inodes, whichever is less.
    """

    free: int
    ratio: float


def check_scratch(context: CheckContext) -> Iterator[Remark]:
    """Check that scratch space exists, is mounted, and is not full."""
    root = ScratchRootSettings.read(context.environment).scratch_root
    return _check_volume(root, context, "consumers delete their own files: nothing to")


def check_models_volume(context: CheckContext) -> Iterator[Remark]:
    """Check the same for the volume of the models."""
    root = ModelsSettings.read(context.environment).models_root
    return _check_volume(root, context, "old versions, in .versions, are not to")


def _check_volume(root: Path, context: CheckContext, remark: str) -> Iterator[Remark]:
    if not root.is_dir():
        what_to_do = f"systemctl status local-fs.target; mount -a; install -d {root}"
        yield Remark(Level.CRITICAL, f"{root} is not a folder", what_to_do)
        return
    yield from _mount(root, context.settings.volume)
    space = measure(root)
    level = judged_falling(space.ratio, context.settings.free)
    yield Remark(
        level,
        f"{space.free / _GIB:.1f} GiB, {space.ratio:.0%}, free in {root}",
        "" if level is Level.OK else f"df -h {root}; du -xsh {root}/* ({remark} delete by hand)",
        {"free_ratio": round(space.ratio, 4), "free_bytes": space.free},
    )


def judged_falling(value: float, limits: Limits) -> Level:
    """Compare a value with its limits, where small values are bad."""
    if value < limits.critical:
        return Level.CRITICAL
    return Level.WARNING if value < limits.warning else Level.OK


def measure(root: Path) -> FreeSpace:
    """Measure free space, as ``df`` does."""
    found = os.statvfs(root)
    ratios = [_ratio(found.f_bavail, found.f_blocks - found.f_bfree)]
    # Some file systems, such as btrfs, do not count inodes.
    if found.f_files:
        ratios.append(_ratio(found.f_favail, found.f_files - found.f_ffree))
    return FreeSpace(found.f_bavail * found.f_frsize, min(ratios))


def _ratio(free: int, used: int) -> float:
    return free / (free + used) if free + used else 0.0


def _mount(root: Path, volume: Path | None) -> Iterator[Remark]:
    if volume is not None and root.is_relative_to(volume) and not volume.is_mount():
        yield Remark(
            Level.CRITICAL,
            f"nothing is mounted at {volume}, so {root} fills the system's disk",
            f"findmnt {volume}; mount {volume}; then systemctl restart 'dropscribe@*'",
        )
    point = _read_only_mount(root)
    if point is not None:
        yield Remark(
            Level.CRITICAL,
            f"{point} is read-only, as Linux mounts a file system after errors",
            f"dmesg | grep -i error; umount {point}; fsck; mount {point}",
        )


def _read_only_mount(root: Path) -> str | None:
    """Find a folder's mount (proc(5), mountinfo), if its file system is read-only.

    The mount itself may be read-only for this process alone.
    """
    device = root.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        fields, _, rest = line.partition(" - ")
        _, _, number, _, point, *_ = fields.split(" ")
        if number == wanted:
            return point if "ro" in rest.split(" ")[2].split(",") else None
    return None
