"""The broker: whether it responds, is set up, and waits long enough for work."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.broker.address import BrokerAddress
from events.routes import Route, exchange_name, queue_name, rule_id
from ops.observe.health.context import ERRORS, CheckContext
from ops.observe.health.depths import all_queue_names, has_exchange, read_depths
from ops.observe.health.rabbitmqctl import Rabbitmqctl
from ops.observe.health.result import CheckResult, Level, Remark, combined
from ops.wiring.settings import LoopSettings

_MAKE = "dropscribe bootstrap"


def check_broker(context: CheckContext) -> CheckResult:
    """Check that the broker responds, and has the exchange, the queues and their bindings.

    Only ``rabbitmqctl`` lists bindings without changing any; if it cannot be run, the
    result says that bindings were not checked.
    """
    address, routes = context.broker, context.routes
    names = all_queue_names(address, context.topology, routes)
    depths = read_depths(address, names)
    missing = [name for name in names if depths[name] is None]
    remarks = []
    if missing:
        remarks.append(Remark(Level.CRITICAL, f"missing: queue {', '.join(missing)}", _MAKE))
    if address.is_amqp:
        remarks += _amqp_remarks(context, address, routes)
    figures = {"queues": len(names) - len(missing), "missing": len(missing)}
    return combined("broker", remarks, f"all {len(names)} queues exist", figures)


def _amqp_remarks(
    context: CheckContext, address: BrokerAddress, routes: tuple[Route, ...]
) -> Iterator[Remark]:
    exchange = exchange_name(address.prefix)
    if not has_exchange(address, exchange):
        yield Remark(
            Level.CRITICAL, f"missing: exchange {exchange}, to which the store sends", _MAKE
        )
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


def check_consumer_timeout(context: CheckContext) -> CheckResult:
    """Compare RabbitMQ's ``consumer_timeout`` with the consumers' setting, and with their work.

    Consumers renew long deliveries in time for BROKER_CONSUMER_TIMEOUT, so RabbitMQ's own
    value must not be shorter. A recording that is longer than the timeout is only a sign
    that the timeout should be longer, as transcription is faster than speech. Policies
    that set the timeout for single queues (RabbitMQ 3.12 and later) are not checked.
    """
    check = "consumer-timeout"
    if not context.broker.is_amqp:
        return CheckResult(check, Level.OK, "SQS has none: consumers renew their deliveries")
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
        said += "; RabbitMQ's own is unknown, as rabbitmqctl cannot be run"
    elif theirs == float("inf"):
        said += ", RabbitMQ has no timeout"
    else:
        said += f", RabbitMQ's own {theirs:g} s"
    return combined(check, remarks, said, figures)


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
