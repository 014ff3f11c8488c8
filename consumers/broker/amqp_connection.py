"""Connecting to RabbitMQ."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from amqp.exceptions import AMQPError, MessageNacked
from kombu import Connection
from kombu.exceptions import KombuError
from kombu.transport import pyamqp

from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_frames import FrameConnection
from consumers.broker.errors import BrokerLostError

#: Whatever py-amqp and kombu raise where the broker does not answer as it should.
AMQP_ERRORS: tuple[type[Exception], ...] = (OSError, AMQPError, MessageNacked, KombuError)


class AmqpMessage(pyamqp.Message):  # type: ignore[misc]
    """A message with the body that its sender gave it.

    kombu takes a header ``compression`` for its own, and raises within
    ``drain_events`` where the body is not compressed so.
    """

    def __init__(self, msg: Any, channel: Any = None, **kwargs: Any) -> None:
        headers = msg.properties.get("application_headers") or {}
        headers.pop("compression", None)
        super().__init__(msg, channel=channel, **kwargs)


class AmqpChannel(pyamqp.Channel):  # type: ignore[misc]
    """A channel of such messages."""

    Message = AmqpMessage


class _Amqp(FrameConnection):
    Channel = AmqpChannel


class AmqpTransport(pyamqp.Transport):  # type: ignore[misc]
    """The transport of that channel."""

    Connection = _Amqp


def make_connection(
    address: BrokerAddress,
    *,
    heartbeat: int,
    connect_timeout: float,
    patience: float | None = None,
) -> Any:
    """Make a connection, not yet established, whose every publication is confirmed.

    Args:
        address: A RabbitMQ's.
        heartbeat: Seconds between heartbeats; after twice as many without a
            sign of the broker it is taken for lost. 0 for none.
        connect_timeout: Seconds that connecting may take.
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
            # Of an answer that we wait for, as there no heartbeat is looked at.
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
    """Establish a connection; it is closed where the block fails.

    Raises:
        BrokerLostError: RabbitMQ can't be reached, or refuses.
    """
    try:
        connection.connect()
        yield connection
    except AMQP_ERRORS as exc:
        connection.collect()
        raise BrokerLostError(f"the broker can't be reached: {exc}") from exc
    except BaseException:
        connection.collect()
        raise
