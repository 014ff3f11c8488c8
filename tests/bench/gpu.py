"""How busy a GPU is while something runs."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

#: Milliseconds between two looks.
_EVERY = 200

_LOOK = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]


@contextmanager
def busy(device: str) -> Iterator[dict[str, float]]:
    """Fill a dict, when the block ends, with the share of time in which the GPU worked.

    Args:
        device: ``cuda``, or ``cpu`` for no figures.
    """
    told: dict[str, float] = {}
    if device != "cuda":
        yield told
        return
    with subprocess.Popen(
        [*_LOOK, "-lms", str(_EVERY)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as looking:
        try:
            yield told
        finally:
            looking.terminate()
            output, _ = looking.communicate()
    figures = [float(line) for line in output.splitlines() if line.strip().isdigit()]
    if figures:
        told["GPU busy, %"] = statistics.mean(figures)
