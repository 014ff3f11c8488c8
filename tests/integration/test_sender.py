"""Sending on SQS."""

from __future__ import annotations

import pytest

from consumers.errors import PermanentError
from ops.wiring.environment import Environment
from tests.contracts.loop import ROUTE
from tests.contracts.sender import SenderContract
from tests.integration.queues import EmbeddedQueues


@pytest.fixture
def queues(environment: Environment) -> EmbeddedQueues:
    return EmbeddedQueues(environment)


class TestSenderOnSqs(SenderContract):
    """The contract."""


def test_a_message_too_large_for_sqs_is_refused_for_good(queues: EmbeddedQueues) -> None:
    with queues.sender() as sender, pytest.raises(PermanentError, match="SQS does not accept"):
        sender.send(ROUTE, "x" * 2_000_000)
