#!/usr/bin/python
"""Ansible module: the GPUs that NVIDIA's driver reports, and their faults."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

DOCUMENTATION = r"""
module: gpus
short_description: Checks NVIDIA's driver, its device nodes and each GPU's memory
options:
  driver_minimum: {description: The oldest driver accepted, type: str, required: true}
  memory_mib: {description: The least memory of each GPU, type: int, required: true}
"""
EXAMPLES = r"""
- gpus: {driver_minimum: 525.60.13, memory_mib: 10000}
"""
RETURN = r"""
gpus: {description: "Each GPU's index, name, driver and memory_mib", type: list}
faults: {description: The faults, for people; empty if there are none, type: list}
"""

#: Properties from ``nvidia-smi --help-query-gpu``.
_QUERY = "index,name,driver_version,memory.total"


@dataclass(frozen=True, slots=True)
class DriverGpu:
    """A GPU that the driver reports."""

    index: str
    name: str
    driver: str
    memory_mib: int


def parse(lines: str) -> list[DriverGpu]:
    """Parse the output of ``nvidia-smi``: CSV without header and units.

    Raises:
        ValueError: It has another form.
    """
    found = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        index, name, driver, memory = (each.strip() for each in line.split(","))
        found.append(DriverGpu(index, name, driver, int(memory)))
    return found


def faults(
    gpus: Sequence[DriverGpu], nodes: Collection[str], *, driver_minimum: str, memory_mib: int
) -> list[str]:
    """Return the faults of a host's GPUs.

    Args:
        gpus: Those that the driver reports.
        nodes: The names under ``/dev`` that begin with ``nvidia``.
        driver_minimum: The oldest driver accepted.
        memory_mib: The least memory of each GPU.
    """
    if not gpus:
        return ["the driver finds no GPU: is one attached (lspci)?"]
    wrong = [
        f"GPU {gpu.index} ({gpu.name}) has {gpu.memory_mib} MiB of memory, but {memory_mib} MiB"
        " are required (gpu_worker_gpu_memory_mib)"
        for gpu in gpus
        if gpu.memory_mib < memory_mib
    ]
    if _numbers(gpus[0].driver) < _numbers(driver_minimum):
        wrong.append(
            f"the driver is {gpus[0].driver}, but CUDA 12 needs {driver_minimum} or newer:"
            " upgrade it, and reboot"
        )
    # nvidia-modprobe, or the first program that uses CUDA, creates nvidia-uvm.
    needed = ["nvidiactl", *(f"nvidia{gpu.index}" for gpu in gpus)]
    if missing := [f"/dev/{name}" for name in needed if name not in nodes]:
        wrong.append(f"{', '.join(missing)} is missing: install nvidia-modprobe, and reboot")
    return wrong


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def main() -> None:
    """Run the module."""
    # Ansible finds this import here too; the functions above work without it.
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

    module = AnsibleModule(
        argument_spec={
            "driver_minimum": {"type": "str", "required": True},
            "memory_mib": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    program = module.get_bin_path("nvidia-smi")
    if not program:
        wrong = [
            "there is no nvidia-smi: install NVIDIA's driver, or set gpu_worker_install_driver"
        ]
        module.exit_json(changed=False, gpus=[], faults=wrong)
    code, out, error = module.run_command(
        [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    )
    if code:
        said = " ".join((out or error).split())
        wrong = [f"nvidia-smi fails ({code}): {said}. After an upgrade of the driver, reboot"]
        module.exit_json(changed=False, gpus=[], faults=wrong)
    try:
        gpus = parse(out)
    except ValueError:
        module.fail_json(msg=f"unexpected output of nvidia-smi: {out!r}")
    else:
        nodes = {path.name for path in Path("/dev").glob("nvidia*")}
        wrong = faults(
            gpus,
            nodes,
            driver_minimum=module.params["driver_minimum"],
            memory_mib=module.params["memory_mib"],
        )
        module.exit_json(changed=False, gpus=list(map(asdict, gpus)), faults=wrong)


if __name__ == "__main__":
    main()
