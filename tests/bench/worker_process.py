"""A process that repeats one kind of work on request, and is measured from outside.

The memory of the benchmark itself does not count, and each case has its own processes.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe
from typing import Any

import psutil

from consumers.errors import ConfigurationError
from tests.bench.timing import cpu_seconds

#: Opens a worker for a block; it is pickled, so it has to be a module's function.
OpenWorker = Callable[..., AbstractContextManager[Callable[[str], Any]]]

#: Seconds between two looks at the memory.
_LOOK = 0.1

_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A piece of work that was done.

    Attributes:
        cpu_seconds: Processor time of the process and its children.
        peak_megabytes: Their largest common memory; shared pages count once.
    """

    result: Any
    seconds: float
    cpu_seconds: float
    peak_megabytes: float

    @property
    def facts(self) -> Mapping[str, float]:
        """Its figures for a report."""
        return {"CPU s": self.cpu_seconds, "peak MB": self.peak_megabytes}


class WorkerProcess:
    def __init__(self, process: subprocess.Popen[bytes], ours: Connection) -> None:
        self._process = psutil.Process(process.pid)
        self._ours = ours

    def do(self, task: str) -> TaskResult:
        """Do a piece of work; for errors see `receive`."""
        cpu, begin = cpu_seconds(self._process), time.perf_counter()
        with _peak(self._process) as peak:
            self._ours.send(task)
            result = self.receive()
        seconds = time.perf_counter() - begin
        return TaskResult(result, seconds, cpu_seconds(self._process) - cpu, peak() / _MEGABYTE)

    def receive(self) -> Any:
        """Wait for a result, the first of which says that it can begin.

        Raises:
            ConfigurationError: It failed; the message says how.
        """
        try:
            failure, result = self._ours.recv()
        except EOFError:
            failure, result = "it ended", None
        if failure is not None:
            raise ConfigurationError(f"the measured process failed: {failure}")
        return result


@contextmanager
def ready(work: Callable[..., Any], *arguments: object) -> Iterator[Callable[[str], Any]]:
    """Make a worker of a module's function that needs no set-up, and takes the task last."""
    yield partial(work, *arguments)


@contextmanager
def worker_process(make: OpenWorker, *arguments: object) -> Iterator[WorkerProcess]:
    """Start a process with a worker; it is killed with the block, and its children too.

    Raises:
        ConfigurationError: It cannot start.
    """
    ours, theirs = Pipe()
    argv = [sys.executable, "-m", "tests.bench.worker_process", str(theirs.fileno())]
    process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    try:
        theirs.close()
        ours.send((make, arguments))
        started = WorkerProcess(process, ours)
        started.receive()
        yield started
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        # The process first: a pool replaces its dead children.
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()
        ours.close()


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
                # Only root can see the pages of a confined child.
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
