"""The exchange and the queues of a deployment on RabbitMQ, and its URL for stores."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from urllib.parse import quote

from consumers.broker.address import BrokerAddress
from consumers.broker.topology import Topology, count_messages, declare_topology
from events.routes import dead_letter_queue_name
from ops.bootstrap.bucket import Bucket
from ops.bootstrap.step import Step, kept


def queue_steps(
    address: BrokerAddress, topology: Topology, bucket: Bucket, *, dry_run: bool
) -> Iterator[Step]:
    """Declare and bind the missing queues; RabbitMQ drops messages that no queue is bound for.

    The queues of routes that are off stay bound, so that late notifications of a store are
    kept; their messages are counted.

    Yields:
        Each step, once it is done.

    Raises:
        ConfigurationError: A queue exists with other arguments, or the user may not declare it.
        TransientError: RabbitMQ is unreachable.
    """
    yield from starmap(
        Step, declare_topology(address, topology, routes=bucket.routes, dry_run=dry_run)
    )
    for route in bucket.off:
        counts = count_messages(address, [spec.name for spec in topology.queues(route)])
        if counts:
            dead = counts.pop(dead_letter_queue_name(topology.prefix, route), 0)
            yield kept(route, sum(counts.values()), dead)


def amqp_url(broker: BrokerAddress, *, with_password: bool = True) -> str:
    """Write the address of a RabbitMQ as a URL.

    The virtual host ``/`` is left out: not every store understands ``%2F`` as RabbitMQ's own
    tools do.
    """
    scheme, _, netloc = (broker.endpoint or "").partition("://")
    path = "" if broker.virtual_host == "/" else "/" + quote(broker.virtual_host, safe="")
    user = ""
    if with_password and broker.access_key is not None:
        password = quote(broker.secret_key or "", safe="")
        user = f"{quote(broker.access_key, safe='')}:{password}@"
    return f"{scheme}://{user}{netloc}{path}"
