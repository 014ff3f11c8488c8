"""The queues: who takes from them, what waits in them, and what was given up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from events.routes import Route, dead_letter_queue_name, queue_name
from ops.observe.health.context import ERRORS, CheckContext
from ops.observe.health.depths import QueueDepth, all_queue_names, look_into, queue_names
from ops.observe.health.result import CheckResult, Level, Remark, combined


def look_at_queues(context: CheckContext) -> CheckResult:
    """See who takes from each route's queue, how much waits, and what is dead.

    For how long the oldest waits is not asked of the broker: SQS tells it to
    CloudWatch alone, and RabbitMQ only to who fetches the message, which a quorum
    queue counts as a failed delivery. It is what is on record: for how long the
    oldest archive, recording or batch waits for the route (see `stages`). A message
    that tells of nothing that waits has no age.
    """
    address, routes = context.broker, context.routes
    depths = look_into(address, all_queue_names(address, context.topology, routes))
    remarks: list[Remark] = []
    figures: dict[str, Any] = {"messages": {}, "consumers": {}, "dead": {}}
    said = []
    for route in routes:
        main = depths[queue_name(address.prefix, route)]
        dead = depths[dead_letter_queue_name(address.prefix, route)]
        if main is None or dead is None:
            what = f"{route.name}: its queues are not there"
            remarks.append(Remark(Level.CRITICAL, what, "dropscribe bootstrap"))
            continue
        waiting = sum(
            depth.messages
            for name in queue_names(address, context.topology, route)
            if (depth := depths[name]) is not None and depth is not dead
        )
        figures["messages"][route.name] = waiting
        figures["dead"][route.name] = dead.messages
        if main.consumers is not None:
            figures["consumers"][route.name] = main.consumers
        remarks += _remarks(route, main, waiting, dead)
        said.append(f"{route.name} {waiting}")
    figures["oldest_seconds"] = _oldest(context)
    return combined("queues", remarks, f"waiting: {', '.join(said)}", figures)


def _remarks(route: Route, main: QueueDepth, waiting: int, dead: QueueDepth) -> list[Remark]:
    remarks = []
    if main.consumers == 0:
        level = Level.CRITICAL if waiting else Level.WARNING
        remarks.append(
            Remark(
                level,
                f"{route.name}: no consumer, {waiting} waiting",
                f"systemctl start dropscribe@{route.name} on a host that has it, or "
                f"dropscribe consume {route.name}",
            )
        )
    if dead.messages:
        remarks.append(
            Remark(
                Level.WARNING,
                f"{route.name}: {dead.messages} dead letters",
                f"dropscribe dead list --route {route.name}, and once the cause is mended "
                f"dropscribe dead replay --route {route.name}",
            )
        )
    return remarks


def _oldest(context: CheckContext) -> Mapping[str, float]:
    try:
        return {backlog.route: backlog.oldest or 0.0 for backlog in context.database.backlogs()}
    except ERRORS:
        return {}
