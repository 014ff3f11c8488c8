"""Which routes a deployment has."""

from __future__ import annotations

from events.routes import ROUTES, Route
from ops.wiring.environment import Environment


def routes_of(environment: Environment) -> tuple[Route, ...]:
    """Give the routes that are set up: an optional one only where it has something to do.

    ``moderate`` is set up where ``POLICIES_ROOT`` names a folder with policies.

    Raises:
        SettingError: It is not an absolute path.
    """
    is_moderated = environment.path("POLICIES_ROOT") is not None
    return tuple(route for route in ROUTES if is_moderated or not route.is_optional)
