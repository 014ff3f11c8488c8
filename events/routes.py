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
    """Which created objects a consumer is told of.

    Attributes:
        name: What people call it: ``dropscribe consume {name}``.
        prefix: What the object's key begins with.
        suffix: What it ends with.
        is_optional: Whether a deployment may do without: then it has no queue and
            no rule, and no batch waits for it.
    """

    name: str
    prefix: str
    suffix: str
    is_optional: bool = False

    def matches(self, key: str) -> bool:
        """Tell whether an object created under ``key`` concerns this route."""
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
    """Name the queue on which the route's notifications arrive.

    ``prefix`` keeps the deployments apart that share one broker. SQS allows
    letters, digits, ``-`` and ``_`` only, so that is what the names are made of.
    """
    return f"{prefix}-{route.name}"


def review_queue_name(prefix: str) -> str:
    """Name the queue that tells other systems of each item that people are to review."""
    return f"{prefix}-ra"


def dead_letter_queue_name(prefix: str, route: Route) -> str:
    """Name the queue that keeps what the route could not do."""
    return f"{queue_name(prefix, route)}-dead"


def exchange_name(prefix: str) -> str:
    """Name the topic exchange to which stores send; the routing key is the rule's Id."""
    return prefix


def delay_queue_name(prefix: str, route: Route, seconds: float) -> str:
    """Name the queue in which a message of the route rests for so long before it comes again.

    There is one for each delay: where delays are mixed in one queue, the long
    ones at its head keep the short ones behind them.
    """
    return f"{queue_name(prefix, route)}-delay-{seconds:g}s"


def lease_queue_name(prefix: str, route: Route, holder: str) -> str:
    """Name the queue through which one consumer renews its hold on long work.

    Args:
        prefix: What the queues' names begin with.
        route: Whose work.
        holder: What no other consumer is called.
    """
    return f"{queue_name(prefix, route)}-lease-{holder}"


def rule_id(prefix: str, route: Route) -> str:
    """Name the route's rule in the bucket's notification configuration.

    A store that announces over AMQP sends with the same name as routing key.
    It never changes: some stores add a rule under a new Id to the old one
    rather than replace it, and every event would come twice.
    """
    return queue_name(prefix, route)
