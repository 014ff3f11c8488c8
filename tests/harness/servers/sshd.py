"""A real sshd: Debian's ``openssh-server``, for the user of the tests alone."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.servers.grounds import Grounds, grounds
from tests.harness.servers.process import (
    Process,
    RestartableServer,
    answer,
    require,
    running,
    wait_until,
)

_INSTALL = "apt-get install --no-install-recommends openssh-server"
_SSHD = "/usr/sbin/sshd"

#: Started by root, it gives up its rights in there; Debian's unit makes the folder.
_PRIVILEGE_SEPARATION = Path("/run/sshd")

_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
LogLevel VERBOSE
Subsystem sftp internal-sftp
{more}
"""


@dataclass(frozen=True, slots=True)
class SshServer(RestartableServer):
    """A running sshd.

    Attributes:
        port: On 127.0.0.1.
        folder: With its keys and its log; removed at the end.
    """

    user: str
    port: int
    folder: Path
    _process: Process = field(repr=False)

    @property
    def key(self) -> Path:
        """The private key that lets the user in."""
        return self.folder / "user_key"

    @property
    def known_hosts(self) -> Path:
        """A file that has the host key that it began with."""
        return self.folder / "known_hosts"

    def known_at(self, port: int) -> str:
        """Give a line of known_hosts for the same server at another port."""
        algorithm, key, *_ = (self.folder / "host_key.pub").read_text().split()
        return f"[127.0.0.1]:{port} {algorithm} {key}\n"

    def source(self, path: str | Path, port: int | None = None) -> str:
        """Name a path on it, as ``dropscribe transfer`` takes it."""
        return f"ssh://{self.user}@127.0.0.1:{port or self.port}{path}"

    def change_host_key(self) -> None:
        """Have it show another host key from now on."""
        self.stop()
        _make_key(self.folder / "host_key")
        self.start()

    def stop(self) -> None:
        """End it, and all connections."""
        self._process.kill()

    def wait(self) -> None:
        """Wait until it greets a client."""
        wait_until(lambda: answer(self.port, b"SSH-2.0-probe\r\n"), [self._process], "the start")

    def log(self) -> str:
        """Read the end of its log."""
        return self._process.log_end()


@contextmanager
def sshd(*more: str) -> Iterator[SshServer]:
    """Run an sshd while the block runs."""
    require([_SSHD, "ssh-keygen"], _INSTALL)
    user = getpass.getuser()
    if user == "root":
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    with grounds("sshd", ports=1) as place:
        _write_folder(place, more)
        argv = [_SSHD, "-D", "-e", "-f", str(place.folder / "sshd_config")]
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        with running(Process(place, argv, environment)) as process:
            server = SshServer(user, place.ports[0], place.folder, process)
            server.known_hosts.write_text(server.known_at(server.port))
            server.wait()
            yield server


def _write_folder(place: Grounds, more: tuple[str, ...]) -> None:
    for name in ("host_key", "user_key"):
        _make_key(place.folder / name)
    (place.folder / "sshd_config").write_text(
        _CONFIG.format(port=place.ports[0], folder=place.folder, more="\n".join(more))
    )


def _make_key(path: Path) -> None:
    path.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
