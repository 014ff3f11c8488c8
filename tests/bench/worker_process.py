"""A process that does one kind of work whenever it is asked to, and is measured from outside.

Whatever a benchmark itself holds is not counted, and each case has processes of its own.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

import psutil

from consumers.errors import ConfigurationError

#: Makes, for as long as a block runs, what does the work; both are found by their names there.
OpenWorker = Callable[..., AbstractContextManager[Callable[[str], Any]]]

#: Seconds between two looks at the memory.
_LOOK = 0.1

_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A piece of work that was done.

    Attributes:
        result: What came of it.
        seconds: How long it took.
        cpu_seconds: Of the process and of those that it started.
        peak_megabytes: Of all of them together at the worst moment; what they share counts once.
    """

    result: Any
    seconds: float
    cpu_seconds: float
    peak_megabytes: float

    @property
    def facts(self) -> Mapping[str, float]:
        """What a benchmark tells of it."""
        return {"CPU s": self.cpu_seconds, "peak MB": self.peak_megabytes}


class WorkerProcess:
    """The process."""

    def __init__(self, process: subprocess.Popen[bytes], ours: Connection) -> None:
        self._process = psutil.Process(process.pid)
        self._ours = ours

    def do(self, task: str) -> TaskResult:
        """Have a piece of work done.

        Raises:
            ConfigurationError: It failed; the message says how.
        """
        cpu, begin = _cpu_seconds(self._process), time.perf_counter()
        with _peak(self._process) as peak:
            self._ours.send(task)
            result = self._hear()
        seconds = time.perf_counter() - begin
        return TaskResult(result, seconds, _cpu_seconds(self._process) - cpu, peak() / _MEGABYTE)

    def ready(self) -> None:
        """Wait until it can begin.

        Raises:
            ConfigurationError: It can't.
        """
        self._hear()

    def _hear(self) -> Any:
        try:
            failure, result = self._ours.recv()
        except EOFError:
            failure, result = "it ended", None
        if failure is not None:
            raise ConfigurationError(f"what is measured failed: {failure}")
        return result


@contextmanager
def worker_process(make: OpenWorker, *arguments: object) -> Iterator[WorkerProcess]:
    """Start a process that makes what works; it is killed with the block, children and all.

    Raises:
        ConfigurationError: It can't begin.
    """
    ours, theirs = Pipe()
    argv = [sys.executable, "-m", "tests.bench.worker_process", str(theirs.fileno())]
    process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    try:
        theirs.close()
        ours.send((make, arguments))
        started = WorkerProcess(process, ours)
        started.ready()
        yield started
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()
        process.wait()
        ours.close()


def _cpu_seconds(process: psutil.Process) -> float:
    """Sum up what it used, and its children, the ended ones too."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def _peak(process: psutil.Process) -> Iterator[Callable[[], float]]:
    """Look at the memory again and again while a block runs; gives the most bytes seen."""
    most = [0.0]
    over = threading.Event()

    def watch() -> None:
        while True:
            most[0] = max(most[0], _memory(process))
            if over.wait(_LOOK):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: most[0]
    finally:
        over.set()
        watcher.join()


def _memory(process: psutil.Process) -> float:
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            try:
                total += each.memory_full_info().pss
            except psutil.AccessDenied:
                # A confined child shows its pages to nobody but root.
                total += each.memory_info().rss
    return total


def _serve(end: Connection) -> None:
    make, arguments = end.recv()
    try:
        with make(*arguments) as work:
            end.send((None, None))
            while True:
                end.send((None, work(end.recv())))
    except EOFError:
        return
    except Exception as exc:
        end.send((f"{type(exc).__name__}: {exc}", None))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
