"""Where a server lives: a folder, ports, and the thread that starts its processes.

The end is the same whether the block is left or the test process is killed: the
kernel kills the processes with the thread that started them, and a shell that waits
for the end of a pipe removes the folder.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: Below the ports that Linux gives to outgoing connections, so that none of those gets
#: the port of a server that restarts.
_PORTS = range(15000, 32000)

#: Waits for the end of standard input; processes that still write there are about to die.
_REMOVE_FOLDER = """
while read -r _; do :; done
for _ in $(seq 300); do rm -rf -- "$1" && exit; sleep 0.1; done
exit 1
"""


class ServerError(Exception):
    """A server failed; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """Where a server lives.

    Attributes:
        folder: For everything it keeps; removed when it ends.
        ports: Free ones on 127.0.0.1, this server's own until it ends.
        births: The thread that starts its processes: they end with it.
    """

    folder: Path
    ports: Sequence[int]
    births: ThreadPoolExecutor

    @property
    def environment(self) -> dict[str, str]:
        """Variables that every program needs."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
        }

    def give_to(self, user: str | None) -> None:
        """Let the folder, and what is in it, belong to a user; None leaves it as it is."""
        if user is not None:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, user, user)


@contextmanager
def grounds(prefix: str, *, ports: int) -> Iterator[Grounds]:
    """Make a folder, reserve ports, and take both back at the end."""
    with (
        ExitStack() as stack,
        _folder(prefix) as folder,
        ThreadPoolExecutor(1, thread_name_prefix=prefix) as births,
    ):
        yield Grounds(folder, [_reserve_port(stack) for _ in range(ports)], births)


@contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-"))
    remover = subprocess.Popen(
        ["/bin/sh", "-c", _REMOVE_FOLDER, "remover", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    with remover:
        yield folder
    if remover.returncode:
        raise ServerError(f"the folder {folder} could not be removed")


def _reserve_port(stack: ExitStack) -> int:
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            # A name in Linux's abstract namespace says to other test processes that
            # it is taken, also while the server is down; it ends with this process.
            claim = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            claim.bind(f"\0dropscribe-port-{port}")
            return port
    raise ServerError("no port is free on 127.0.0.1")
