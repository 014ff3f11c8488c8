"""Connecting to RabbitMQ."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from amqp.exceptions import AMQPError, MessageNacked, NotFound
from kombu import Connection
from kombu.exceptions import KombuError
from kombu.transport import pyamqp

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_frames import FrameConnection
from consumers.broker.errors import BrokerLostError, MissingQueueError

#: Seconds that an `AmqpSession` waits for the broker's answers and confirms, and to connect.
PATIENCE, _CONNECT_TIMEOUT = 30.0, 5.0

#: All that py-amqp and kombu raise when the broker does not answer as it should.
AMQP_ERRORS: tuple[type[Exception], ...] = (OSError, AMQPError, MessageNacked, KombuError)


class AmqpMessage(pyamqp.Message):  # type: ignore[misc]
    """A message with its sender's body.

    kombu takes any header ``compression`` for its own, and raises within
    ``drain_events`` if the body is not compressed accordingly.
    """

    def __init__(self, msg: Any, channel: Any = None, **kwargs: Any) -> None:
        headers = msg.properties.get("application_headers") or {}
        headers.pop("compression", None)
        super().__init__(msg, channel=channel, **kwargs)


class AmqpChannel(pyamqp.Channel):  # type: ignore[misc]
    """A channel of `AmqpMessage`."""

    Message = AmqpMessage


class _Amqp(FrameConnection):
    Channel = AmqpChannel


class AmqpTransport(pyamqp.Transport):  # type: ignore[misc]
    """The transport of `AmqpChannel`."""

    Connection = _Amqp


def make_connection(
    address: BrokerAddress,
    *,
    heartbeat: int,
    connect_timeout: float,
    patience: float | None = None,
) -> Any:
    """Make a connection, not yet established, that waits for RabbitMQ to confirm each message.

    Args:
        address: RabbitMQ's.
        heartbeat: Seconds between heartbeats; after twice as many without a sign of the
            broker it is taken for lost. 0 for none.
        connect_timeout: Seconds.
        patience: Seconds to wait for an answer; None for two heartbeats.
    """
    parts = urlsplit(address.endpoint or "")
    patience = 2 * heartbeat if patience is None else patience
    return Connection(
        hostname=parts.hostname,
        port=parts.port or (5671 if parts.scheme == "amqps" else 5672),
        userid=address.access_key,
        password=address.secret_key,
        virtual_host=address.virtual_host,
        transport=AmqpTransport,
        ssl=_tls(parts.hostname, address.ca_file) if parts.scheme == "amqps" else False,
        heartbeat=heartbeat,
        connect_timeout=connect_timeout,
        transport_options={
            "confirm_publish": True,
            # While dropscribe waits for an answer, it does not check heartbeats.
            "read_timeout": patience,
            "write_timeout": patience,
            # py-amqp gives up after a second in which a packet is not acknowledged.
            "socket_settings": {socket.TCP_USER_TIMEOUT: int(patience * 1000)},
        },
    )


def _tls(host: str | None, ca_file: str | None) -> dict[str, Any]:
    return {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": ca_file,
        # Without it py-amqp does not compare the certificate's name.
        "server_hostname": host,
        "tls_minimum_version": ssl.TLSVersion.TLSv1_2,
    }


@contextmanager
def connected(connection: Any) -> Iterator[Any]:
    """Establish a connection, closed if the block fails; AMQP's errors are `BrokerLostError`."""
    try:
        connection.connect()
        yield connection
    except BaseException as exc:
        connection.collect()
        if isinstance(exc, AMQP_ERRORS):
            raise BrokerLostError(f"the broker is unreachable: {exc}") from exc
        raise


class AmqpSession:
    """A connection outside of a consumer: made when first needed, and anew after each error.

    It has no heartbeats, as its owner may pause for minutes: a lost broker shows with the
    next request.
    """

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        self._connection: Any = None

    @contextmanager
    def request(self) -> Iterator[Any]:
        """Lend the channel, for requests to the broker alone.

        Raises:
            BrokerLostError: The broker is unreachable or refuses.
            MissingQueueError: A queue does not exist.
        """
        try:
            yield self._connected().default_channel
        except AMQP_ERRORS as exc:
            # A refused request can leave an answer behind that the next request would
            # take for its own.
            self._drop()
            if isinstance(exc, NotFound):
                # "NOT_FOUND - no queue 'x' in vhost 'y'"
                what = str(exc.reply_text).removeprefix("NOT_FOUND - ")
                raise MissingQueueError(f"{what}: run dropscribe bootstrap") from exc
            raise BrokerLostError(f"the broker is unreachable: {exc}") from exc

    def _connected(self) -> Any:
        if self._connection is None or not self._connection.connected:
            self._drop()
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
        """Close the connection, even if the broker is away."""
        if self._connection is not None:
            try:
                self._connection.close()
            except AMQP_ERRORS:
                self._connection.collect()
            self._connection = None
