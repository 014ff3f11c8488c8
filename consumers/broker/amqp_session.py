"""A connection to RabbitMQ for what is no consumer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amqp.exceptions import NotFound

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import AMQP_ERRORS, connected, make_connection
from consumers.broker.errors import BrokerLostError, MissingQueueError

#: Seconds to wait for the broker's answers and confirms.
PATIENCE = 30.0

_CONNECT_TIMEOUT = 5.0


class AmqpSession:
    """A connection that is made when it is needed, and anew after each error.

    It sends no heartbeats, as its owner may have other things to do for
    minutes: that the broker is gone shows with the next request.
    """

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        self._connection: Any = None

    @contextmanager
    def request(self) -> Iterator[Any]:
        """Lend the channel, for requests to the broker alone.

        Raises:
            BrokerLostError: The broker can't be reached, or refuses.
            MissingQueueError: A queue is not there.
        """
        try:
            yield self._connected().default_channel
        except AMQP_ERRORS as exc:
            # What the broker said no to can leave an answer behind that the
            # next request would take for its own.
            self._drop()
            if isinstance(exc, NotFound):
                # "NOT_FOUND - no queue 'x' in vhost 'y'"
                what = str(exc.reply_text).removeprefix("NOT_FOUND - ")
                raise MissingQueueError(f"{what}: run dropscribe bootstrap") from exc
            raise BrokerLostError(f"the broker can't be reached: {exc}") from exc

    def _connected(self) -> Any:
        if self._connection is not None and not self._connection.connected:
            self._drop()
        if self._connection is None:
            connection = make_connection(
                self._address, heartbeat=0, connect_timeout=_CONNECT_TIMEOUT, patience=PATIENCE
            )
            with connected(connection):
                self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.collect()
            self._connection = None

    def close(self) -> None:
        """Close the connection; a broker that is away does so by itself."""
        if self._connection is not None:
            try:
                self._connection.close()
            except AMQP_ERRORS:
                self._connection.collect()
            self._connection = None
