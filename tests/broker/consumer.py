"""A consumer in a process of its own: ``URL LIMIT GROUP``."""

from __future__ import annotations

import sys

from tests.broker.queues import RabbitQueues
from tests.contracts.mortal import consume


def main(url: str, limit: str, group: str) -> None:
    """Consume until killed."""
    consume(RabbitQueues(url, delivery_limit=int(limit)).open_inbox, int(group))


if __name__ == "__main__":
    main(*sys.argv[1:])
