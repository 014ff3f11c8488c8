"""The queues: their consumers, their depths, and their dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from events.routes import Route, dead_letter_queue_name, queue_name
from ops.observe.health.context import ERRORS, CheckContext
from ops.observe.health.depths import QueueDepth, queue_names, read_depths
from ops.observe.health.result import Level, Remark


def check_queues(context: CheckContext) -> Iterator[Remark]:
    """Check each route's consumers, waiting messages and dead letters.

    The age of the oldest comes from the database (see `stages`), as brokers do not provide
    it: SQS reports it to CloudWatch only, and RabbitMQ only to a client that fetches the
    message, which a quorum queue counts as a failed delivery.
    """
    prefix, routes = context.broker.prefix, context.routes
    depths = read_depths(context, routes)
    figures: dict[str, Any] = {"messages": {}, "consumers": {}, "dead": {}}
    for route in routes:
        main = depths[queue_name(prefix, route)]
        dead = depths[dead_letter_queue_name(prefix, route)]
        if main is None or dead is None:
            what = f"{route.name}: its queues are missing"
            yield Remark(Level.CRITICAL, what, "dropscribe bootstrap")
            continue
        waiting = sum(
            depth.messages
            for name in queue_names(context, route)
            if (depth := depths[name]) is not None and depth is not dead
        )
        figures["messages"][route.name] = waiting
        figures["dead"][route.name] = dead.messages
        if main.consumers is not None:
            figures["consumers"][route.name] = main.consumers
        yield from _remarks(route, main, waiting, dead)
    figures["oldest_seconds"] = _oldest(context)
    said = ", ".join(f"{name} {number}" for name, number in figures["messages"].items())
    yield Remark(Level.OK, f"waiting: {said}", figures=figures)


def _remarks(route: Route, main: QueueDepth, waiting: int, dead: QueueDepth) -> Iterator[Remark]:
    if main.consumers == 0:
        yield Remark(
            Level.CRITICAL if waiting else Level.WARNING,
            f"{route.name}: no consumer, {waiting} waiting",
            f"systemctl start dropscribe@{route.name} on a host that has it, or "
            f"dropscribe consume {route.name}",
        )
    if dead.messages:
        yield Remark(
            Level.WARNING,
            f"{route.name}: {dead.messages} dead letters",
            f"dropscribe dead list --route {route.name}, and once the cause is fixed "
            f"dropscribe dead replay --route {route.name}",
        )


def _oldest(context: CheckContext) -> Mapping[str, float]:
    try:
        return {backlog.route: backlog.oldest or 0.0 for backlog in context.database.backlogs()}
    except ERRORS:
        return {}
