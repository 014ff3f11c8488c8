"""Which workers a host runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def worker_instances(workers: Mapping[str, int], first_port: int) -> list[dict[str, object]]:
    """List a host's workers: ``{"unpack": 2}`` is ``unpack`` and ``unpack-2``.

    Returns:
        The instance of the systemd unit, its route, and the port for its metrics.
    """
    names = [
        (route if number == 1 else f"{route}-{number}", route)
        for route, count in workers.items()
        for number in range(1, int(count) + 1)
    ]
    return [
        {"name": name, "route": route, "port": int(first_port) + offset}
        for offset, (name, route) in enumerate(names)
    ]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name the filters."""
        return {"worker_instances": worker_instances}
