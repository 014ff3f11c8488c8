"""The exchange and the queues of a deployment on RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.broker.address import BrokerAddress
from consumers.broker.topology import Topology, declare_topology
from ops.bootstrap.step import Step


def make_queues(address: BrokerAddress, topology: Topology, *, dry_run: bool) -> Iterator[Step]:
    """Declare what is missing, bound before any store sends: what has no queue vanishes.

    Yields:
        A step as it is done.

    Raises:
        ConfigurationError: Something is there in another form, or may not be made.
        TransientError: RabbitMQ can't be reached.
    """
    for what, missing in declare_topology(address, topology, dry_run=dry_run):
        yield Step(what, changed=missing)
