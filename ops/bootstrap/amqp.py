"""The exchange and the queues of a deployment on RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consumers.broker.address import BrokerAddress
from consumers.broker.topology import Topology, count_messages, declare_topology
from events.routes import Route, dead_letter_queue_name
from ops.bootstrap.step import Step, kept


def make_queues(
    address: BrokerAddress, topology: Topology, routes: Sequence[Route], *, dry_run: bool
) -> Iterator[Step]:
    """Declare what is missing, bound before any store sends: what has no queue vanishes.

    Yields:
        A step as it is done.

    Raises:
        ConfigurationError: Something is there in another form, or may not be made.
        TransientError: RabbitMQ can't be reached.
    """
    for what, missing in declare_topology(address, topology, routes=routes, dry_run=dry_run):
        yield Step(what, changed=missing)


def keep_queues(
    address: BrokerAddress, topology: Topology, routes: Sequence[Route]
) -> Iterator[Step]:
    """Tell what lies in the queues of routes that are not set up (any more).

    They stay bound, too: what a store had yet to send is kept rather than lost.

    Yields:
        A step for each route that has queues.
    """
    for route in routes:
        counts = count_messages(address, [spec.name for spec in topology.queues(route)])
        if counts:
            dead = counts.pop(dead_letter_queue_name(topology.prefix, route), 0)
            yield kept(route, sum(counts.values()), dead)
