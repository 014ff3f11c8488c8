"""The broker: whether it answers, has what bootstrap makes, and waits long enough for work."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.broker.address import BrokerAddress
from events.routes import Route, exchange_name, queue_name, rule_id
from ops.observe.health.context import ERRORS, CheckContext
from ops.observe.health.depths import all_queue_names, has_exchange, look_into
from ops.observe.health.rabbitmqctl import Rabbitmqctl
from ops.observe.health.result import CheckResult, Level, Remark, combined
from ops.wiring.settings import LoopSettings

_MAKE = "dropscribe bootstrap"


def look_at_broker(context: CheckContext) -> CheckResult:
    """See whether the broker answers, and has the exchange, the queues and their bindings.

    Only ``rabbitmqctl`` tells bindings without changing any; where it can't be run,
    the finding says that they were not looked at.
    """
    address, routes = context.broker, context.routes
    names = all_queue_names(address, context.topology, routes)
    depths = look_into(address, names)
    missing = [name for name in names if depths[name] is None]
    remarks = []
    if missing:
        remarks.append(Remark(Level.CRITICAL, f"not there: queue {', '.join(missing)}", _MAKE))
    if address.is_amqp:
        remarks += _amqp_remarks(context, address, routes)
    figures = {"queues": len(names) - len(missing), "missing": len(missing)}
    return combined("broker", remarks, f"{len(names)} queues are there", figures)


def _amqp_remarks(
    context: CheckContext, address: BrokerAddress, routes: tuple[Route, ...]
) -> Iterator[Remark]:
    exchange = exchange_name(address.prefix)
    if not has_exchange(address, exchange):
        yield Remark(
            Level.CRITICAL, f"not there: exchange {exchange}, to which the store sends", _MAKE
        )
        return
    bindings = _rabbitmqctl(context).bindings(address)
    if bindings is None:
        yield Remark(Level.OK, "bindings not looked at, as rabbitmqctl can't be run here")
        return
    for route in routes:
        queue, key = queue_name(address.prefix, route), rule_id(address.prefix, route)
        if (queue, key) not in bindings:
            what = f"queue {queue} is not bound to exchange {exchange}: its events are lost"
            yield Remark(Level.CRITICAL, what, f"{_MAKE}, then dropscribe sweep")


def look_at_consumer_timeout(context: CheckContext) -> CheckResult:
    """Compare RabbitMQ's ``consumer_timeout`` with what the consumers go by, and with their work.

    Long work renews its hold in time, by BROKER_CONSUMER_TIMEOUT: RabbitMQ's own must
    not be shorter than that. A recording is heard faster than it was spoken, or the
    host is too slow for it; so one that lasts longer than the timeout is a sign that it
    should be longer, and no more. Of policies that set it for single queues (RabbitMQ
    3.12 and later) nothing is known here.
    """
    check = "consumer-timeout"
    if not context.broker.is_amqp:
        return CheckResult(check, Level.OK, "SQS has none: what is in hand is held by renewal")
    ours = LoopSettings.read(context.environment).consumer_timeout
    theirs = _rabbitmqctl(context).consumer_timeout()
    longest = _longest(context)
    figures: dict[str, float] = {"expected_seconds": ours}
    remarks = []
    if theirs is not None and theirs != float("inf"):
        figures["actual_seconds"] = theirs
    if theirs is not None and theirs < ours:
        remarks.append(_too_short(theirs, ours))
    if longest is not None:
        figures["longest_recording_seconds"] = longest
        if longest > min(ours, theirs or ours):
            remarks.append(_long_work(longest, ours))
    said = f"BROKER_CONSUMER_TIMEOUT is {ours} s"
    if theirs is None:
        said += "; RabbitMQ's own is not known here, as rabbitmqctl can't be run"
    elif theirs == float("inf"):
        said += ", RabbitMQ has none"
    else:
        said += f", RabbitMQ's own {theirs:g} s"
    return combined(check, remarks, said, figures)


def _too_short(theirs: float, ours: int) -> Remark:
    return Remark(
        Level.CRITICAL,
        f"RabbitMQ's consumer_timeout is {theirs:g} s, and consumers go by {ours} s: it takes "
        "back what they still work on",
        f"BROKER_CONSUMER_TIMEOUT={theirs:.0f} for the consumers, or on the broker's host: "
        f"rabbitmqctl eval 'application:set_env(rabbit, consumer_timeout, {ours * 1000}).', and "
        f"consumer_timeout = {ours * 1000} in rabbitmq.conf",
    )


def _long_work(longest: float, ours: int) -> Remark:
    wanted = (int(longest) // 600 + 1) * 600
    return Remark(
        Level.WARNING,
        f"the longest recording of this week lasts {longest:.0f} s, and a delivery may be held "
        f"for {ours} s",
        "holds are renewed, so nothing is lost; on the broker's host: rabbitmqctl eval "
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
