"""The stages of the pipeline, from the table that dropscribe itself uses."""

from __future__ import annotations

import sys
from collections.abc import Callable
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


class FilterModule:
    """The class that Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name the filters."""
        return {"pipeline_routes": pipeline_routes}
