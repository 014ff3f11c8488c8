"""The data volume of a GPU host: made, found again, grown, and never taken from others."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.servers.process import require
from tests.hosts.control import Control, reached
from tests.hosts.machine import Debian, Machine, machine

ROLE = "role.yml"

MOUNTED = "findmnt --noheadings --output UUID,FSTYPE,OPTIONS --mountpoint /srv/dropscribe"
SIZE = "stat --file-system --format '%b %S' /srv/dropscribe"


@dataclass(frozen=True, slots=True)
class Disk:
    """A file as a block device, which hosts can share."""

    file: Path
    device: str

    def grow(self, size: str) -> None:
        """Make it larger, as a cloud does with a volume that is in use."""
        _call("truncate", f"--size={size}", self.file)
        _call("losetup", "--set-capacity", self.device)

    def empty(self, size: str) -> None:
        """Replace it by one that was never written to."""
        _call("truncate", "--size=0", self.file)
        self.grow(size)


def _call(*argv: object) -> str:
    return subprocess.run(
        [str(each) for each in argv], check=True, capture_output=True, text=True
    ).stdout.strip()


def _may_resize() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective.split()[1], 16) & 1 << 24)


@contextmanager
def _disk(file: Path) -> Iterator[Disk]:
    file.touch()
    _call("truncate", "--size=512M", file)
    device = _call("losetup", "--find", "--show", file)
    try:
        yield Disk(file, device)
    finally:
        _call("losetup", "--detach", device)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    require(["losetup", "mkfs.ext4", "mkfs.xfs"], "apt-get install mount e2fsprogs xfsprogs")
    with _disk(tmp_path_factory.mktemp("disk") / "volume.img") as made:
        yield made


@pytest.fixture(scope="module")
def host(base: Debian, disk: Disk) -> Iterator[Machine]:
    with machine(base, "gpu-volume", "127.0.1.21", binds=[disk.device]) as booted:
        booted.run(
            "apt-get update -qq && DEBIAN_FRONTEND=noninteractive"
            " apt-get install -qq -y python3-apt rsync xfsprogs fdisk lvm2"
        )
        yield booted


@pytest.fixture
def operator(tmp_path: Path, host: Machine, disk: Disk) -> Iterator[Control]:
    """An operator of a host whose disk is empty, and not mounted."""
    disk.empty("512M")
    control = Control(tmp_path)
    control.write(
        {"gpu_workers": {"hosts": {host.name: {**reached(host), "gpu_worker_gpu": "none"}}}}
    )
    control.compose(ROLE, "gpu_worker")
    yield control
    host.run("umount /srv/dropscribe; sed -i '/dropscribe/d' /etc/fstab", check=False)


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_volume_is_made_once_and_found_again(
    operator: Control, host: Machine, disk: Disk, filesystem: str
) -> None:
    given = {
        "gpu_worker_volume_device": disk.device,
        "gpu_worker_volume_filesystem": filesystem,
    }

    foretold = operator.play(ROLE, "--check", "--diff", given=given)
    untouched = disk.file.stat().st_blocks
    first = operator.play(ROLE, given=given)

    assert (foretold.code, foretold.failed, untouched) == (0, "", 0)
    assert (first.code, first.failed) == (0, "")
    assert {"Make or adopt the filesystem", "Mount it by its UUID"} <= set(first.changed)
    assert first.changed == foretold.changed
    uuid, kind, options = host.run(MOUNTED).out.split()
    assert kind == filesystem
    assert {"nodev", "nosuid", "noexec"} <= set(options.split(","))
    assert f"UUID={uuid} /srv/dropscribe" in host.run("cat /etc/fstab").out
    scratch = host.run("stat --format '%U %a' /srv/dropscribe/scratch").out
    assert scratch.split() == ["dropscribe", "700"]

    # Nothing is left to do.
    assert operator.play(ROLE, given=given).changed == []

    # The host is installed anew, and its volume is attached to it again.
    host.run("echo kept > /srv/dropscribe/models/file")
    host.run("umount /srv/dropscribe && sed -i '/dropscribe/d' /etc/fstab")
    again = operator.play(ROLE, given=given)
    assert again.changed == ["Mount it by its UUID"]
    assert host.run("cat /srv/dropscribe/models/file").out == "kept\n"


@pytest.mark.parametrize(
    "filesystem",
    [
        pytest.param(
            "ext4",
            marks=pytest.mark.skipif(
                not _may_resize(), reason="mounted ext4 grows by CAP_SYS_RESOURCE alone"
            ),
        ),
        "xfs",
    ],
)
def test_a_volume_grows_with_its_device_while_it_is_in_use(
    operator: Control, host: Machine, disk: Disk, filesystem: str
) -> None:
    given = {
        "gpu_worker_volume_device": disk.device,
        "gpu_worker_volume_filesystem": filesystem,
    }
    operator.play(ROLE, given=given)
    host.run("echo kept > /srv/dropscribe/models/file")
    before = _bytes(host)

    disk.grow("900M")

    assert operator.play(ROLE, "--check", given=given).changed == [
        "Grow the filesystem with its device"
    ]
    assert _bytes(host) == before
    assert operator.play(ROLE, given=given).changed == ["Grow the filesystem with its device"]
    assert _bytes(host) > before + (350 << 20)
    assert host.run("cat /srv/dropscribe/models/file").out == "kept\n"
    assert operator.play(ROLE, given=given).changed == []


def test_a_host_that_boots_mounts_it_by_its_uuid(
    operator: Control, host: Machine, disk: Disk
) -> None:
    given = {"gpu_worker_volume_device": disk.device}
    operator.play(ROLE, given=given)
    uuid = host.run(MOUNTED).out.split()[0]

    host.reboot()

    # Where /sys is read-only, as in containers, systemd leaves the devices of fstab alone. What it
    # makes of the line elsewhere:
    generator = "/lib/systemd/system-generators/systemd-fstab-generator"
    host.run(
        "mkdir -p /tmp/units && unshare --mount sh -c"
        f" 'mount -t tmpfs none /sys && {generator} /tmp/units /tmp/units /tmp/units'"
    )
    unit = host.run("cat /tmp/units/srv-dropscribe.mount", check=False).out
    assert f"What=/dev/disk/by-uuid/{uuid}" in unit
    assert "nofail" in unit
    host.run("mount --all")
    assert host.run(MOUNTED).out.split()[0] == uuid
    assert operator.play(ROLE, given=given).changed == []


@pytest.mark.parametrize(
    ("what", "command", "named"),
    [
        ("a filesystem of others", "mkfs.ext4 -q -L photos {}", "ext4 labelled 'photos'"),
        ("one without a label", "mkfs.xfs -q {}", "xfs"),
        ("a partition table", "echo 'label: gpt\n,' | sfdisk --quiet --no-reread {}", "gpt"),
        ("an old partition table", "echo 'label: dos\n,' | sfdisk -q --no-reread {}", "dos"),
        ("swap", "mkswap {}", "swap"),
        ("a physical volume of LVM", "pvcreate --quiet --config devices/scan_lvs=0 {}", "LVM2"),
        ("raw data", "head -c 4096 /dev/urandom | dd of={} seek=1 bs=1M", "unknown kind"),
        ("raw data at its end", "echo data | dd of={} seek=511 bs=1M", "unknown kind"),
        (
            "a filesystem that only bears our label",
            "mkfs.ext4 -q -L dropscribe {} && mount {} /mnt && touch /mnt/photo && umount /mnt",
            "of another maker",
        ),
    ],
)
def test_a_device_with_anything_on_it_is_refused(
    operator: Control, host: Machine, disk: Disk, what: str, command: str, named: str
) -> None:
    host.run(command.replace("{}", disk.device))
    before = _call("sha256sum", disk.device)

    outcome = operator.play(ROLE, given={"gpu_worker_volume_device": disk.device})

    assert outcome.code != 0
    assert named in outcome.failed
    assert "Nothing was changed" in outcome.failed
    assert outcome.changed == []
    assert _call("sha256sum", disk.device) == before


def test_a_device_that_is_not_there_is_named(operator: Control) -> None:
    outcome = operator.play(ROLE, given={"gpu_worker_volume_device": "/dev/vdz"})

    assert outcome.code != 0
    assert "there is no /dev/vdz on this host" in outcome.failed


def test_without_a_device_it_is_a_folder(operator: Control, host: Machine) -> None:
    given = {"gpu_worker_volume_device": "none"}

    assert operator.play(ROLE, given=given).code == 0

    assert operator.play(ROLE, given=given).changed == []
    assert host.run(MOUNTED, check=False).out == ""
    assert host.run("ls /srv/dropscribe").out.split() == ["models", "scratch"]


def _bytes(host: Machine) -> int:
    blocks, size = host.run(SIZE).out.split()
    return int(blocks) * int(size)
