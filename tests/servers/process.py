"""What the servers share: a folder, ports, and processes that never outlive the tests.

The end of a server is the same whether its block is left or the test process is
killed: its processes are gone (the kernel kills them with the thread that started
them), and its folder is (a shell waits for the end of a pipe, and removes it).
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from consumers.errors import ConfigurationError

T = TypeVar("T")

#: Below the ports that Linux gives to outgoing connections, so that nobody is given
#: the port of a server that restarts.
_PORTS = range(15000, 32000)

#: Seconds that a server gets to answer.
_START = 90.0

#: Seconds that it gets to end by itself.
_END = 30.0

#: Lines of a log that an error shows: RabbitMQ says why it ends 50 lines before the end.
_LOG_LINES = 80

#: Waits for the end of standard input; what still writes there is about to be killed.
_REMOVE_FOLDER = """
while read -r _; do :; done
for _ in $(seq 300); do rm -rf -- "$1" && exit; sleep 0.1; done 2>/dev/null
exit 1
"""


class ServerError(Exception):
    """A server did not do what was asked; the message has the end of its log."""


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


@dataclass(frozen=True, slots=True)
class Process:
    """A program that can be started, ended and started again.

    Attributes:
        grounds: Where it lives.
        argv: Its program and arguments; it must stay in the foreground.
        environment: All the variables that it gets.
        user: As whom it runs; None is the user of the tests.
    """

    grounds: Grounds
    argv: Sequence[str]
    environment: Mapping[str, str]
    user: str | None = None
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)

    def start(self) -> None:
        """Start it."""
        self._running[:] = [self.grounds.births.submit(self._spawn).result()]

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs, or before it was started."""
        return self._running[0].poll() if self._running else None

    def finish(self, beside: Sequence[Process] = ()) -> None:
        """Wait until it has done its work, while others run.

        Raises:
            ServerError: It failed, another ended, or it took too long.
        """
        if wait_until(lambda: self.exit_code, beside, " ".join(self.argv)):
            self.check()

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            ServerError: It does not.
        """
        if not self._running:
            raise ServerError(f"{self._name} has not been started")
        if self.exit_code is not None:
            raise ServerError(f"{self._name} ended (exit code {self.exit_code}):\n{self.log_end()}")

    def stop(self) -> None:
        """Let it end by itself, by SIGTERM.

        Raises:
            ServerError: It did not, and was killed.
        """
        for process in self._running:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                self.kill()
                raise ServerError(
                    f"{self._name} did not end within {_END:.0f} s:\n{self.log_end()}"
                ) from None

    def kill(self) -> None:
        """Kill it and what it started, by SIGKILL."""
        for process in self._running:
            with suppress(psutil.NoSuchProcess):
                family = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                for member in family:
                    with suppress(psutil.NoSuchProcess):
                        member.kill()
            process.wait()

    def log_end(self) -> str:
        """Read the last of what it wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        # setpriv rather than preexec_fn, which a process with threads must not use. It
        # comes after the change of user, which would undo it.
        with self._log.open("ab") as log:
            return subprocess.Popen(
                ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", *self.argv],
                env=self.environment,
                cwd=self.grounds.folder,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C on a terminal is for the tests, which then end their servers.
                start_new_session=True,
            )

    @property
    def _name(self) -> str:
        return Path(self.argv[0]).name

    @property
    def _log(self) -> Path:
        return self.grounds.folder / f"{self._name}.out"


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
def running(process: Process) -> Iterator[Process]:
    """Start a process, and kill it at the end."""
    try:
        process.start()
        yield process
    finally:
        process.kill()


def require(programs: Sequence[str], install: str) -> None:
    """Make sure that programs are installed.

    Raises:
        ConfigurationError: One is not; the message says what to install.
    """
    for program in programs:
        if shutil.which(program) is None:
            raise ConfigurationError(f"{program} is not installed: {install}")


def wait_until(look: Callable[[], T | None], processes: Sequence[Process], what: str) -> T:
    """Look again and again, while processes run, until there is something to be seen.

    Raises:
        ServerError: A process ended, or it took too long.
    """
    end = time.monotonic() + _START
    while (seen := look()) is None:
        for process in processes:
            process.check()
        if time.monotonic() > end:
            logs = "\n".join(process.log_end() for process in processes)
            raise ServerError(f"{what} took longer than {_START:.0f} s:\n{logs}")
        time.sleep(0.02)
    return seen


def answer(port: int, question: bytes = b"") -> bytes | None:
    """Connect to a port of 127.0.0.1, say something, and read what comes first.

    Returns:
        The first bytes of the answer, none when there was no question, or None
        when nobody listens or answers.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            if not question:
                return b""
            connection.sendall(question)
            return connection.recv(64) or None
    except OSError:
        return None


@contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-"))
    remover = subprocess.Popen(
        ["/bin/sh", "-c", _REMOVE_FOLDER, "remover", str(folder)],
        stdin=subprocess.PIPE,
        cwd="/",
        start_new_session=True,
    )
    with remover:
        yield folder
    if remover.returncode:
        raise ServerError(f"the folder {folder} could not be removed")


def _reserve_port(stack: ExitStack) -> int:
    for port in random.sample(_PORTS, len(_PORTS)):
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            # A name in Linux's abstract namespace says to other test processes that
            # it is taken, also while the server is down; it ends with this process.
            claim = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            claim.bind(f"\0dropscribe-tests-port-{port}")
            return port
    raise ServerError("no port is free on 127.0.0.1")
