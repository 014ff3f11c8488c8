"""Fresh Debian 12 hosts on this machine: real systemd and sshd, each on a loopback address.

A host is a folder that debootstrap made and systemd-nspawn boots. It shares this
machine's network, so what listens on it has to listen on its address.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.harness.servers.grounds import ServerError, grounds
from tests.harness.servers.process import Process, require, wait_until

_PROGRAMS = ("debootstrap", "systemd-nspawn", "ssh", "ssh-keygen")
_INSTALL = "apt-get install --no-install-recommends debootstrap systemd-container openssh-client"

#: The packages of a host before it is provisioned: those of Debian's installer, and sshd.
_PACKAGES = (
    "ca-certificates,dbus,iproute2,kmod,libpam-systemd,openssh-server,procps,python3,python3-apt,"
    "sudo,systemd,systemd-sysv,udev"
)

_SOURCES = Path("/etc/apt/sources.list.d")
_LISTS = Path("/etc/apt/sources.list")
_MIRROR = re.compile(r"https?://[^\s]+")

#: Where hosts find the certificates that this machine trusts, as it may be behind a proxy.
_TRUSTED = "/usr/local/share/trusted.pem"

#: uv's cache on a host that has dropscribe: files that are only added and removed, so that hosts
#: can share them.
_PYTHON_PACKAGES = "opt/dropscribe/cache"

#: The port of each host's sshd.
SSH_PORT = 2222

#: Seconds that a host gets to boot, and to end.
_BOOT = 300.0

#: Runs a program, which comes after ``--``, in the control groups before that.
_WITHIN = (
    "/bin/sh",
    "-euc",
    'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"',
    "within",
)


@dataclass(frozen=True, slots=True)
class Result:
    """How a command on a host ended.

    Attributes:
        code: Its exit code.
        out: What it wrote on standard output.
        error: What it wrote on standard error.
    """

    code: int
    out: str
    error: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A host.

    Attributes:
        name: Its host name.
        address: Its own loopback address.
        tree: Its root folder, as this machine sees it.
        access: By what it is reached.
    """

    name: str
    address: str
    tree: Path
    access: Access
    _process: Process = field(repr=False)

    def run(self, command: str, *, check: bool = True, timeout: float = 600.0) -> Result:
        """Run a shell command as root, over SSH.

        Raises:
            ServerError: It failed, and ``check`` is set.
        """
        done = subprocess.run(
            ["ssh", *self.access.options, f"root@{self.address}", command],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            # systemctl only names the place of the reason.
            journal = self.run("journalctl --no-pager --lines 40", check=False).out
            raise ServerError(
                f"{self.name}: {command}: {done.returncode}\n{done.stderr}\nIts journal:\n{journal}"
            )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self) -> None:
        """Boot it, and wait until it answers."""
        self._process.start()
        deadline = time.monotonic() + _BOOT
        while self.run("true", check=False).code:
            self._process.check()
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} did not boot:\n{self._process.log_end()}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Shut it down in order."""
        self._process.stop()

    def kill(self) -> None:
        """Kill it, as a power cut does."""
        self._process.kill()

    def reboot(self) -> None:
        """Restart it in order."""
        # The connection ends with the host.
        self.run("systemctl reboot", check=False)
        deadline = time.monotonic() + _BOOT
        while self._process.exit_code is None:
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} did not shut down:\n{self._process.log_end()}")
            time.sleep(0.1)
        self.start()


@dataclass(frozen=True, slots=True)
class Access:
    """SSH access to hosts.

    Attributes:
        key: An SSH key that root's account on each host accepts.
        known_hosts: The keys of the hosts.
    """

    key: Path
    known_hosts: Path

    @property
    def options(self) -> Sequence[str]:
        """Options for ``ssh``, without this machine's user's configuration."""
        settings = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": 5,
            "Port": SSH_PORT,
        }
        return ["-F", "none", *(f"-o{name}={value}" for name, value in settings.items())]


@dataclass(frozen=True, slots=True)
class Provisions:
    """What the processes of a session share, so that it is made once.

    Attributes:
        folder: Where it is.
    """

    folder: Path

    @contextmanager
    def alone(self, name: str) -> Iterator[Path]:
        """Give the path of a part of it; no other process is in this block of it meanwhile."""
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.folder / name


@dataclass(frozen=True, slots=True)
class Debian:
    """A tree from which hosts are made.

    Attributes:
        tree: Debian 12, never booted.
        access: By what its hosts will be reached.
    """

    tree: Path
    access: Access
    _provisions: Provisions = field(repr=False)

    def lend_packages(self, host: Machine) -> None:
        """Give a fresh host the Python packages that an earlier one has downloaded."""
        with self._provisions.alone("packages") as kept:
            if kept.exists():
                (host.tree / _PYTHON_PACKAGES).parent.mkdir(parents=True, exist_ok=True)
                _call("cp", "-al", kept, host.tree / _PYTHON_PACKAGES)

    def keep_packages(self, host: Machine) -> None:
        """Keep the Python packages that a host has downloaded, unless there are some."""
        with self._provisions.alone("packages") as kept:
            if not kept.exists():
                _call("cp", "-al", host.tree / _PYTHON_PACKAGES, kept)


@contextmanager
def debian(provisions: Provisions) -> Iterator[Debian]:
    """Make a Debian 12 tree, once for all processes; it takes about a minute.

    While you work on these tests, ``DEBIAN_TREE`` can name a folder where it stays.
    """
    require(_PROGRAMS, _INSTALL)
    with grounds("debian", ports=0) as place:
        with provisions.alone("debian") as own:
            tree = Path(os.environ.get("DEBIAN_TREE", own))
            if not (tree / "etc/debian_version").exists():
                packages = f"--include={_PACKAGES}"
                _call("debootstrap", "--variant=minbase", packages, "bookworm", tree, _mirror())
        key = place.folder / "id_ed25519"
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        known = place.folder / "known_hosts"
        known.touch()
        yield Debian(tree, Access(key, known), provisions)


@contextmanager
def machine(
    base: Debian,
    name: str,
    address: str,
    *,
    binds: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Machine]:
    """Boot a fresh host; it is gone at the end.

    Args:
        base: What it is a copy of.
        name: Its host name.
        address: A loopback address of its own.
        binds: Paths of this machine that it shares, as ``systemd-nspawn --bind`` takes them.
        variables: For ``systemd-nspawn`` itself.
    """
    with grounds(name, ports=0) as place, _control_groups(place.folder.name) as groups:
        tree = place.folder / name
        # With its links and owners; where the file system can share blocks, it does.
        _call("cp", "-a", "--reflink=auto", base.tree, tree)
        _furnish(tree, base.access.key.with_suffix(".pub").read_text())
        _introduce(tree, name, address, base.access.known_hosts)
        process = Process(
            place,
            [
                *_WITHIN,
                *(str(group) for group in groups),
                "--",
                "/usr/bin/systemd-nspawn",
                f"--directory={tree}",
                f"--machine={name}",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--quiet",
                "--resolv-conf=copy-host",
                "--link-journal=no",
                "--timezone=off",
                "--kill-signal=SIGRTMIN+3",
                *(f"--bind={bind}" for bind in binds),
            ],
            {"PATH": os.environ["PATH"], **(variables or {})},
            # It shuts the host down, also when the test process was killed.
            orphaned=signal.SIGTERM,
        )
        host = Machine(name, address, tree, base.access, process)
        try:
            host.start()
            yield host
        finally:
            host.kill()


@contextmanager
def _control_groups(name: str) -> Iterator[Sequence[Path]]:
    """Make a control group in each hierarchy; the end removes them with the host's own groups.

    systemd-nspawn has a host live in the group that it was started in. Two in one group
    would remove and kill what is in the other's units of the same names.
    """
    groups = [group / name for group in _own_control_groups()]
    for group in groups:
        group.mkdir()
    try:
        yield groups
    finally:
        for group in groups:
            wait_until(partial(_is_removed, group), (), f"the end of {group}")


def _own_control_groups() -> Iterator[Path]:
    """Find the control groups of this process, in the hierarchies that systemd keeps (cgroups(7)).

    Of version 1 that is the one named systemd; of version 2 there is one, which is
    mounted elsewhere where there are both.
    """
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, kind, path = line.split(":", 2)
        for mounted in {"name=systemd": ("systemd",), "": ("unified", "")}.get(kind, ()):
            group = Path("/sys/fs/cgroup", mounted, path.lstrip("/"))
            if (group / "cgroup.procs").exists():
                yield group
                break


def _is_removed(group: Path) -> bool | None:
    """Remove it from the innermost group on; a process that just died may hold one for a moment."""
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
    return not group.exists() or None


def _furnish(tree: Path, public_key: str) -> None:
    """Add to a tree the packages' sources, the certificates and the key of all hosts."""
    for old in (tree / "etc/apt").glob("sources.list*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    if _LISTS.is_file():
        shutil.copy(_LISTS, tree / "etc/apt/sources.list")
    sources = tree / "etc/apt/sources.list.d"
    sources.mkdir()
    for path in _SOURCES.glob("*.sources"):
        if "debian.org" in path.read_text():
            shutil.copy(path, sources)
    (tree / "usr/share/keyrings").mkdir(exist_ok=True)
    bundle = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(bundle, tree / _TRUSTED.lstrip("/"))
    (tree / "etc/environment").write_text(
        "".join(f"{name}={_TRUSTED}\n" for name in ("SSL_CERT_FILE", "PIP_CERT"))
    )
    ssh = tree / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(public_key)
    for old in (tree / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    # It would listen on all addresses of the shared network.
    (tree / "etc/systemd/system/ssh.socket").symlink_to("/dev/null")
    # No host of a test outlives this machine, so nothing has to wait for the disk.
    (tree / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
    # Not the machine's own id: each host makes one.
    (tree / "etc/machine-id").write_text("uninitialized\n")


def _introduce(tree: Path, name: str, address: str, known_hosts: Path) -> None:
    """Give a tree a name, an address and SSH keys that its clients know."""
    (tree / "etc/hostname").write_text(f"{name}\n")
    (tree / "etc/hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
    (tree / "etc/ssh/sshd_config.d/address.conf").write_text(
        f"ListenAddress {address}\nPort {SSH_PORT}\n"
    )
    key = tree / "etc/ssh/ssh_host_ed25519_key"
    _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key)
    kind, value, *_ = key.with_suffix(".pub").read_text().split()
    kept = [line for line in known_hosts.read_text().splitlines() if f"[{address}]" not in line]
    known_hosts.write_text("\n".join([*kept, f"[{address}]:{SSH_PORT} {kind} {value}", ""]))


def _mirror() -> str:
    """Find the archive that this machine gets Debian's packages from."""
    for path in (*sorted(_SOURCES.glob("debian*.sources")), _LISTS):
        with suppress(OSError):
            for line in path.read_text().splitlines():
                if not line.startswith("#") and (found := _MIRROR.search(line)):
                    return found.group()
    return "http://deb.debian.org/debian"


def _call(*argv: object) -> None:
    done = subprocess.run(
        [str(each) for each in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ServerError(f"{argv[0]} failed ({done.returncode}):\n{done.stdout[-4000:]}")
