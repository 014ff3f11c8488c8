"""A consumer in a process of its own: ``URL PREFIX LIMIT VISIBILITY GROUP``."""

from __future__ import annotations

import sys
from functools import partial

from consumers.broker import sqs_inbox
from consumers.broker.address import BrokerAddress
from tests.contracts.loop import ROUTE
from tests.contracts.mortal import consume


def main(url: str, prefix: str, limit: str, visibility: str, group: str) -> None:
    """Consume until killed."""
    sqs_inbox.VISIBILITY = int(visibility)
    sqs_inbox._LONG_POLL = 0
    address = BrokerAddress.parse(url, region="us-east-1", prefix=prefix)
    consume(partial(sqs_inbox.open_sqs_inbox, address, ROUTE, lost_after=int(limit)), int(group))


if __name__ == "__main__":
    main(*sys.argv[1:])
