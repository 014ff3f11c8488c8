"""The routes of the pipeline, from the table that dropscribe itself uses, and their workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_ROOT = str(Path(__file__).parents[3])


def pipeline_routes(is_moderated: bool) -> list[str]:  # noqa: FBT001 - a filter's input
    """Name the routes of `events.routes.ROUTES`, optional ones only with moderation."""
    sys.path.insert(0, _ROOT)
    try:
        from events.routes import ROUTES  # noqa: PLC0415
    finally:
        sys.path.remove(_ROOT)
    return [route.name for route in ROUTES if is_moderated or not route.is_optional]


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
        return {"pipeline_routes": pipeline_routes, "worker_instances": worker_instances}
