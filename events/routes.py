"""The pipeline is one table.

A row says which created objects are announced to which stage. The broker's queues and
the bucket's notification rules are made from these rows. A new stage is one row here, one
module in ``consumers.stages`` and one function in ``ops.wiring.pipeline``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from events.keys import ARCHIVES, COMPLETE, OPUS, PROCESSED, TRANSCRIPT


@dataclass(frozen=True, slots=True)
class Route:
    """The objects that a stage's consumer receives.

    Attributes:
        name: The stage's name, as in ``dropscribe consume {name}``.
        prefix: The beginning of the objects' keys.
        suffix: Their end.
        is_optional: Whether a deployment may do without the stage. It then has no queue and no
            rule, and no batch waits for it.
    """

    name: str
    prefix: str
    suffix: str
    is_optional: bool = False

    def matches(self, key: str) -> bool:
        """Check whether the creation of an object under ``key`` is announced on this route."""
        return key.startswith(self.prefix) and key.endswith(self.suffix)


ROUTES: tuple[Route, ...] = (
    Route("unpack", ARCHIVES, ""),
    Route("transcribe", PROCESSED, OPUS),
    Route("moderate", PROCESSED, TRANSCRIPT, is_optional=True),
    Route("review", PROCESSED, COMPLETE),
)


def route_named(name: str, routes: Sequence[Route] = ROUTES) -> Route:
    """Find a route by its name."""
    return next(route for route in routes if route.name == name)


def queue_name(prefix: str, route: Route) -> str:
    """Name the queue of the route's notifications.

    ``prefix`` separates the deployments that share a broker. Names consist of letters, digits,
    ``-`` and ``_``, as SQS allows no others.
    """
    return f"{prefix}-{route.name}"


def review_queue_name(prefix: str) -> str:
    """Name the queue that announces each review item to other systems."""
    return f"{prefix}-ra"


def dead_letter_queue_name(prefix: str, route: Route) -> str:
    """Name the queue of the route's dead letters."""
    return f"{queue_name(prefix, route)}-dead"


def exchange_name(prefix: str) -> str:
    """Name the topic exchange of stores; the routing key is the rule's Id."""
    return prefix


def delay_queue_name(prefix: str, route: Route, seconds: float) -> str:
    """Name the queue in which a message of the route waits this long for its next attempt.

    There is one for each delay: in a queue with several, long delays at its head would hold up
    short ones behind them.
    """
    return f"{queue_name(prefix, route)}-delay-{seconds:g}s"


def lease_queue_name(prefix: str, route: Route, holder: str) -> str:
    """Name the queue through which one consumer renews its hold on long work.

    Args:
        prefix: The deployment's prefix.
        route: The route.
        holder: A name that no other consumer has.
    """
    return f"{queue_name(prefix, route)}-lease-{holder}"


def rule_id(prefix: str, route: Route) -> str:
    """Name the route's rule in the bucket's notification configuration.

    A store that sends over AMQP uses it as the routing key. It never changes: some stores add
    a rule with a new Id to the old rule instead of replacing that, and every event would
    arrive twice.
    """
    return queue_name(prefix, route)
