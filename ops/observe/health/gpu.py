"""The GPUs: that there is one where one is asked for, and how it is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult, Level, Remark, combined
from ops.wiring.environment import Environment

_ASKED = ("name", "driver_version", "memory.used", "memory.total", "temperature.gpu")

#: Above it, NVIDIA's data centre GPUs slow themselves down.
_HOT = 87.0

#: Where NVIDIA's driver has a folder for each GPU, also without its tools.
_DRIVER = Path("/proc/driver/nvidia/gpus")

_DRIVER_HELP = "nvidia-smi; on the control machine: ansible-playbook ops/ansible/site.yml --limit"


@dataclass(frozen=True, slots=True)
class GpuStatus:
    """What ``nvidia-smi`` says of a GPU; MiB and degrees Celsius, None where it says nothing."""

    name: str
    driver: str
    used: float | None
    total: float | None
    temperature: float | None

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line of its CSV.

        Raises:
            ValueError: It has other columns.
        """
        name, driver, used, total, temperature = (part.strip() for part in line.split(","))
        return cls(name, driver, _number(used), _number(total), _number(temperature))


def look_at_gpu(context: CheckContext) -> CheckResult:
    """See whether there is a GPU where ``cuda`` is asked for, and whether it answers."""
    wanted = [*_demands(context.environment)]
    try:
        gpus = _ask(context)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        gpus = []
        if _count_in_driver():
            what = "the driver has a GPU, and nvidia-smi does not answer"
            reason = f" ({type(exc).__name__})"
            level = Level.CRITICAL if wanted else Level.WARNING
            return CheckResult("gpu", level, what + reason, f"{_DRIVER_HELP} this host")
    if not gpus and wanted:
        return CheckResult(
            "gpu",
            Level.CRITICAL,
            f"none here, and {' and '.join(wanted)} demands one",
            f"{_DRIVER_HELP} this host; or WHISPER_DEVICE=auto",
            {"gpus": 0},
        )
    if not gpus:
        return CheckResult("gpu", Level.OK, "none here, and none expected", figures={"gpus": 0})
    figures = {
        "gpus": len(gpus),
        "memory_used_mib": {str(number): gpu.used for number, gpu in enumerate(gpus)},
        "temperature": {str(number): gpu.temperature for number, gpu in enumerate(gpus)},
    }
    names = ", ".join(sorted({gpu.name for gpu in gpus}))
    said = f"{len(gpus)}: {names}, driver {gpus[0].driver}"
    return combined("gpu", [*_heat(gpus)], said, figures)


def _heat(gpus: list[GpuStatus]) -> Iterator[Remark]:
    for number, gpu in enumerate(gpus):
        if gpu.temperature is not None and gpu.temperature >= _HOT:
            what = f"GPU {number} has {gpu.temperature:.0f} degrees, and slows down"
            yield Remark(Level.WARNING, what, f"nvidia-smi -q -d TEMPERATURE -i {number}")


def _demands(environment: Environment) -> Iterator[str]:
    for name in ("WHISPER_DEVICE", "POLICY_DEVICE"):
        if environment.get(name) == "cuda":
            yield f"{name}=cuda"


def _ask(context: CheckContext) -> list[GpuStatus]:
    """Run ``nvidia-smi``.

    Raises:
        OSError: It is not installed.
        SubprocessError: It failed, or did not end in time.
        ValueError: It says what can't be read.
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
