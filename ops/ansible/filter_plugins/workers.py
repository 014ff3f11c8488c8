"""The workers of a host."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def worker_instances(workers: Mapping[str, int], first_port: int) -> list[dict[str, object]]:
    """List a host's workers: ``{"unpack": 2}`` is ``unpack`` and ``unpack-2``.

    Returns:
        For each the instance name of its systemd unit, its route, its number among the route's
        workers (from 0), and its metrics port.
    """
    places = [(route, number) for route, count in workers.items() for number in range(int(count))]
    return [
        {
            "name": f"{route}-{number + 1}" if number else route,
            "route": route,
            "number": number,
            "port": int(first_port) + offset,
        }
        for offset, (route, number) in enumerate(places)
    ]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name the filters."""
        return {"worker_instances": worker_instances}
