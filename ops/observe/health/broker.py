"""The broker: whether it responds, is set up, and waits long enough for work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

from events.routes import Route, exchange_name, queue_name, rule_id
from ops.observe.health.context import ERRORS, CheckContext
from ops.observe.health.queues import has_exchange, read_depths
from ops.observe.health.rabbitmqctl import Rabbitmqctl
from ops.observe.health.result import Level, Remark
from ops.wiring.settings import LoopSettings

_MAKE = "dropscribe bootstrap"


def check_broker(context: CheckContext) -> Iterator[Remark]:
    """Check that the broker responds, and has the exchange, the queues and their bindings.

    Only ``rabbitmqctl`` lists bindings without changing any; if it cannot be run, the
    result says that bindings were not checked.
    """
    routes = context.routes
    depths = read_depths(context, routes)
    missing = [name for name, depth in depths.items() if depth is None]
    figures = {"queues": len(depths) - len(missing), "missing": len(missing)}
    yield Remark(Level.OK, f"all {len(depths)} queues exist", figures=figures)
    if missing:
        yield Remark(Level.CRITICAL, f"missing: queue {', '.join(missing)}", _MAKE)
    if context.broker.is_amqp:
        yield from _amqp_remarks(context, routes)


def _amqp_remarks(context: CheckContext, routes: Sequence[Route]) -> Iterator[Remark]:
    address = context.broker
    exchange = exchange_name(address.prefix)
    if not has_exchange(address, exchange):
        what = f"missing: exchange {exchange}, to which the store sends"
        yield Remark(Level.CRITICAL, what, _MAKE)
        return
    bindings = _rabbitmqctl(context).bindings(address)
    if bindings is None:
        yield Remark(Level.OK, "bindings not checked, as rabbitmqctl cannot be run here")
        return
    for route in routes:
        queue, key = queue_name(address.prefix, route), rule_id(address.prefix, route)
        if (queue, key) not in bindings:
            what = f"queue {queue} is not bound to exchange {exchange}: its events are lost"
            yield Remark(Level.CRITICAL, what, f"{_MAKE}, then dropscribe sweep")


def check_consumer_timeout(context: CheckContext) -> Iterator[Remark]:
    """Compare RabbitMQ's ``consumer_timeout`` with the consumers' setting, and with their work.

    Consumers renew long deliveries in time for BROKER_CONSUMER_TIMEOUT, so RabbitMQ's own
    value must not be shorter. A recording that is longer than the timeout is only a sign
    that the timeout should be longer, as transcription is faster than speech. Policies
    that set the timeout for single queues (RabbitMQ 3.12 and later) are not checked.
    """
    if not context.broker.is_amqp:
        yield Remark(Level.OK, "SQS has none: consumers renew their deliveries")
        return
    ours = LoopSettings.read(context.environment).consumer_timeout
    said = f"BROKER_CONSUMER_TIMEOUT is {ours} s"
    figures: dict[str, float] = {"expected_seconds": ours}
    theirs = _rabbitmqctl(context).consumer_timeout()
    if theirs is None:
        said += "; RabbitMQ's own is unknown, as rabbitmqctl cannot be run"
    elif theirs == inf:
        said += ", RabbitMQ has no timeout"
    else:
        said += f", RabbitMQ's own {theirs:g} s"
        figures["actual_seconds"] = theirs
        if theirs < ours:
            yield _too_short(theirs, ours)
    longest = _longest(context)
    if longest is not None:
        figures["longest_recording_seconds"] = longest
        if longest > min(ours, theirs or ours):
            yield _long_work(longest, ours)
    yield Remark(Level.OK, said, figures=figures)


def _too_short(theirs: float, ours: int) -> Remark:
    return Remark(
        Level.CRITICAL,
        f"RabbitMQ's consumer_timeout is {theirs:g} s, but consumers expect {ours} s: it takes "
        "deliveries back while they are in work",
        f"BROKER_CONSUMER_TIMEOUT={theirs:.0f} for the consumers, or on the broker's host: "
        f"rabbitmqctl eval 'application:set_env(rabbit, consumer_timeout, {ours * 1000}).', and "
        f"consumer_timeout = {ours * 1000} in rabbitmq.conf",
    )


def _long_work(longest: float, ours: int) -> Remark:
    wanted = (int(longest) // 600 + 1) * 600
    return Remark(
        Level.WARNING,
        f"the longest recording of this week lasts {longest:.0f} s, longer than the timeout of "
        f"{ours} s",
        "deliveries are renewed, so nothing is lost; on the broker's host: rabbitmqctl eval "
        f"'application:set_env(rabbit, consumer_timeout, {wanted * 1000}).', then "
        f"BROKER_CONSUMER_TIMEOUT={wanted}",
    )


def _longest(context: CheckContext) -> float | None:
    try:
        return context.database.longest()
    except ERRORS:
        return None


def _rabbitmqctl(context: CheckContext) -> Rabbitmqctl:
    return Rabbitmqctl(context.settings.rabbitmqctl, context.patience)
