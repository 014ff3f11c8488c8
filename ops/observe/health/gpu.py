"""The GPUs: whether a required GPU is present, and its state."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ops.observe.health.context import CheckContext
from ops.observe.health.result import Level, Remark
from ops.wiring.environment import Environment

_ASKED = ("name", "driver_version", "memory.used", "temperature.gpu")

#: Degrees Celsius from which NVIDIA's data centre GPUs throttle.
_HOT = 87.0

#: NVIDIA's driver has a folder for each GPU here, even without nvidia-smi.
_DRIVER = Path("/proc/driver/nvidia/gpus")

_DRIVER_HELP = "nvidia-smi; on the control machine: ansible-playbook ops/ansible/site.yml --limit"


@dataclass(frozen=True, slots=True)
class GpuStatus:
    """A GPU's state by ``nvidia-smi``; memory in MiB, degrees Celsius, None if unknown."""

    name: str
    driver: str
    used: float | None
    temperature: float | None

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line of the CSV output.

        Raises:
            ValueError: The columns differ.
        """
        name, driver, used, temperature = (part.strip() for part in line.split(","))
        return cls(name, driver, _number(used), _number(temperature))


def check_gpu(context: CheckContext) -> Iterator[Remark]:
    """Check that there is a GPU if ``cuda`` is set, and that it responds."""
    wanted = [*_demands(context.environment)]
    try:
        gpus = _ask(context)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        gpus = []
        if _count_in_driver():
            level = Level.CRITICAL if wanted else Level.WARNING
            what = f"the driver has a GPU, but nvidia-smi fails ({type(exc).__name__})"
            yield Remark(level, what, f"{_DRIVER_HELP} this host")
            return
    if gpus:
        yield from _states(gpus)
    elif wanted:
        what = f"none on this host, but {' and '.join(wanted)} requires one"
        what_to_do = f"{_DRIVER_HELP} this host; or WHISPER_DEVICE=auto"
        yield Remark(Level.CRITICAL, what, what_to_do, {"gpus": 0})
    else:
        yield Remark(Level.OK, "none on this host, and none required", figures={"gpus": 0})


def _states(gpus: list[GpuStatus]) -> Iterator[Remark]:
    names = ", ".join(sorted({gpu.name for gpu in gpus}))
    figures = {
        "gpus": len(gpus),
        "memory_used_mib": {str(number): gpu.used for number, gpu in enumerate(gpus)},
        "temperature": {str(number): gpu.temperature for number, gpu in enumerate(gpus)},
    }
    yield Remark(Level.OK, f"{len(gpus)}: {names}, driver {gpus[0].driver}", figures=figures)
    for number, gpu in enumerate(gpus):
        if gpu.temperature is not None and gpu.temperature >= _HOT:
            what = f"GPU {number} is at {gpu.temperature:.0f} degrees, and throttles"
            yield Remark(Level.WARNING, what, f"nvidia-smi -q -d TEMPERATURE -i {number}")


def _demands(environment: Environment) -> Iterator[str]:
    for name in ("WHISPER_DEVICE", "POLICY_DEVICE"):
        if environment.get(name) == "cuda":
            yield f"{name}=cuda"


def _ask(context: CheckContext) -> list[GpuStatus]:
    """Run ``nvidia-smi``.

    Raises:
        OSError: The program is not installed.
        SubprocessError: The program failed, or did not end in time.
        ValueError: Its output has an unknown form.
    """
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader,nounits"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=context.patience.total_seconds(),
        check=True,
    )
    return [GpuStatus.parse(line) for line in done.stdout.splitlines() if line.strip()]


def _count_in_driver() -> int:
    try:
        return sum(1 for _ in _DRIVER.iterdir())
    except OSError:
        return 0


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
