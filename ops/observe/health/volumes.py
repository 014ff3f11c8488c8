"""Volumes: how much is free, and whether what is to be mounted is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult, Level, Remark, combined
from ops.wiring.settings import Limits, ModelsSettings, ScratchRootSettings

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """How much of a volume is free, for users who are not root.

    Attributes:
        free: Bytes.
        ratio: The share that is free: of its bytes, or of its files if that is less.
    """

    free: int
    ratio: float


def look_at_scratch(context: CheckContext) -> CheckResult:
    """See whether scratch space is there, mounted where it should be, and not full."""
    root = ScratchRootSettings.read(context.environment).scratch_root
    return _look("scratch", root, context, "files in work go when their consumer ends: nothing to")


def look_at_models_volume(context: CheckContext) -> CheckResult:
    """See the same of where the models lie."""
    root = ModelsSettings.read(context.environment).models_root
    return _look("models-volume", root, context, "old versions, in .versions, are not to")


def _look(check: str, root: Path, context: CheckContext, remark: str) -> CheckResult:
    if not root.is_dir():
        what_to_do = f"systemctl status local-fs.target; mount -a; install -d {root}"
        return CheckResult(check, Level.CRITICAL, f"{root} is no folder", what_to_do)
    remarks = [*_mount(root, context.settings.volume)]
    space = measure(root)
    figures = {"free_ratio": round(space.ratio, 4), "free_bytes": space.free}
    level = judged_falling(space.ratio, context.settings.free)
    shown = f"{space.free / _GIB:.1f} GiB, {space.ratio:.0%}, free in {root}"
    if level is not Level.OK:
        remarks.append(
            Remark(level, shown, f"df -h {root}; du -xsh {root}/* ({remark} delete by hand)")
        )
    return combined(check, remarks, shown, figures)


def judged_falling(value: float, limits: Limits) -> Level:
    """Tell how bad it is that only so little is left."""
    if value < limits.critical:
        return Level.CRITICAL
    return Level.WARNING if value < limits.warning else Level.OK


def measure(root: Path) -> FreeSpace:
    """Ask how much is free, as ``df`` does."""
    found = os.statvfs(root)
    ratios = [_ratio(found.f_bavail, found.f_blocks - found.f_bfree)]
    # Some filesystems count no files.
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
    mounted = _mounted_at(root)
    # Not the mount's own options: what is read-only to this process is not so to others.
    if mounted is not None and "ro" in mounted.options:
        yield Remark(
            Level.CRITICAL,
            f"{mounted.point} is read-only; so Linux leaves a filesystem in which it found errors",
            f"dmesg | grep -i error; umount {mounted.point}; fsck; mount {mounted.point}",
        )


@dataclass(frozen=True, slots=True)
class _Mounted:
    point: str
    options: frozenset[str]


def _mounted_at(root: Path) -> _Mounted | None:
    """Find the mount that a folder is in, with its filesystem's options (proc(5), mountinfo)."""
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
            return _Mounted(point, frozenset(rest.split(" ")[2].split(",")))
    return None
