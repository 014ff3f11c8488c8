"""Which workers a host runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def worker_instances(workers: Mapping[str, int], first_port: int) -> list[dict[str, object]]:
    """List a host's workers: ``{"unpack": 2}`` is ``unpack`` and ``unpack-2``.

    Returns:
        The instance of the systemd unit, its route, its number among that route's workers
        (from 0), and the port for its metrics.
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
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name the filters."""
        return {"worker_instances": worker_instances}
