"""The programs of a server: started and ended by process id, and never left behind."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from consumers.errors import ConfigurationError
from tests.harness.servers.grounds import Grounds, ServerError

T = TypeVar("T")

#: Seconds that a server gets to answer.
_START = 300.0

#: Seconds that it gets to end by itself.
_END = 30.0

#: Lines of a log that an error shows: RabbitMQ says why it ends 50 lines before the end.
_LOG_LINES = 80


@dataclass(frozen=True, slots=True)
class Process:
    """A program that can be started, ended and started again; it ends with its grounds.

    Attributes:
        argv: Its program and arguments; it must stay in the foreground.
        environment: All the variables that it gets.
        user: As whom it runs; None is the user of the tests.
        orphaned: What it gets from the kernel when the thread that started it ends.
    """

    grounds: Grounds
    argv: Sequence[str]
    environment: Mapping[str, str]
    user: str | None = None
    orphaned: signal.Signals = signal.SIGKILL
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)

    def start(self) -> None:
        if self._running and self.exit_code is None:
            raise ServerError(f"{self._name} runs already")
        self._running[:] = [self.grounds.births.submit(self._spawn).result()]

    @property
    def pid(self) -> int:
        """Its process id."""
        if not self._running:
            raise ServerError(f"{self._name} has not been started")
        return self._running[0].pid

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
        """Make sure that it runs."""
        if not self._running:
            raise ServerError(f"{self._name} has not been started")
        if self.exit_code is not None:
            raise ServerError(f"{self._name} ended (exit code {self.exit_code}):\n{self.log_end()}")

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Let it end by itself, on a signal.

        Raises:
            ServerError: It did not, and was killed.
        """
        for process in self._running:
            process.send_signal(by)
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                self.kill()
                raise ServerError(
                    f"{self._name} did not end within {_END:.0f} s:\n{self.log_end()}"
                ) from None

    def kill(self) -> None:
        """Kill it and its children by SIGKILL, and wait until all are dead.

        A restarted server refuses to start while an old process holds its memory.
        """
        for process in self._running:
            family: list[psutil.Process] = []
            with suppress(psutil.NoSuchProcess):
                family = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                for member in family:
                    with suppress(psutil.NoSuchProcess):
                        member.kill()
            process.wait()
            for member in family:
                wait_until(partial(_is_dead, member), (), f"the end of {self._name}")

    def resident_bytes(self) -> int:
        """Measure the memory of the process and its children."""
        process, total = psutil.Process(self.pid), 0
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
        return total

    def log_end(self) -> str:
        """Read the end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        # setpriv rather than preexec_fn, which a process with threads must not use. It
        # comes after the change of user, which would undo it.
        orphaned = self.orphaned.name.removeprefix("SIG")
        with self._log.open("ab") as log:
            return subprocess.Popen(
                ["/usr/bin/setpriv", "--pdeathsig", orphaned, "--", *self.argv],
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


class RestartableServer:
    """A server of one process; a subclass has the process and says how to wait for an answer."""

    __slots__ = ()
    _process: Process

    def wait(self) -> None:
        """Wait until it answers."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it after it was stopped or killed; durable data is still there."""
        self._process.start()
        self.wait()

    def stop(self) -> None:
        """Shut it down in order, by SIGTERM."""
        self._process.stop()

    def kill(self) -> None:
        """Kill its processes, by SIGKILL."""
        self._process.kill()

    def restart(self) -> None:
        """Shut it down in order, and start it again."""
        self.stop()
        self.start()


def _is_dead(process: psutil.Process) -> bool | None:
    """See whether it has ended, whether or not its parent knows; None while it lives."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or None
    except psutil.NoSuchProcess:
        return True


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
        ConfigurationError: One is missing; the message names the package.
    """
    for program in programs:
        if shutil.which(program) is None:
            raise ConfigurationError(f"{program} is not installed: {install}")


def wait_until(look: Callable[[], T | None], processes: Sequence[Process], what: str) -> T:
    """Poll while processes run, until the result is not None.

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
    """Connect to a port of 127.0.0.1, send a request, and read the start of the answer.

    Returns:
        The first bytes of the answer, empty without a request, or None
        when nothing listens or answers.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            if not question:
                return b""
            connection.sendall(question)
            return connection.recv(64) or None
    except OSError:
        return None
