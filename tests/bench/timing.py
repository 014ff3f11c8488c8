"""The one way to measure work: by the clock, the processor and the GPU."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from tests.bench.benchmark import Case, Sample

#: Asks every 200 ms.
_GPU = [
    *("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"),
    *("-lms", "200"),
]


def timed_case(
    name: str,
    work: Callable[[], Any],
    device: str = "cpu",
    *,
    factor: float = 1.0,
    facts: Callable[[Any], Mapping[str, float]] = lambda _: {},
) -> Case:
    """Make a case of work in this process; what the work returns is the output.

    Args:
        device: ``cpu``, or ``cuda`` to measure the GPU, too.
        factor: The value is this many times the seconds that the work takes.
        facts: Further facts about an output, which are found out when the time is taken.
    """

    def run() -> Sample:
        process = psutil.Process()
        with _gpu_busy(device) as gpu:
            cpu, begin = cpu_seconds(process), time.perf_counter()
            output = work()
            seconds = time.perf_counter() - begin
            cpu = cpu_seconds(process) - cpu
        return Sample(factor * seconds, {"CPU s": cpu, **gpu, **facts(output)}, output)

    return Case(name, run)


def cpu_seconds(process: psutil.Process) -> float:
    """Sum up the processor time of a process and its children, the ended ones too."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def _gpu_busy(device: str) -> Iterator[dict[str, float]]:
    """Fill a dict, when the block ends, with the share of time in which the GPU worked."""
    facts: dict[str, float] = {}
    if device != "cuda":
        yield facts
        return
    with subprocess.Popen(
        _GPU, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as looking:
        try:
            yield facts
        finally:
            looking.terminate()
            output, _ = looking.communicate()
    figures = [float(line) for line in output.splitlines() if line.strip().isdigit()]
    if figures:
        facts["GPU busy, %"] = statistics.mean(figures)
