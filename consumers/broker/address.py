"""Where the broker is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from consumers.errors import ConfigurationError

#: The schemes of BROKER_URL, and those of the endpoints behind them.
_SCHEMES = {"sqs": "http", "sqs+tls": "https", "amqp": "amqp", "amqps": "amqps"}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is, and the prefix of dropscribe's queues there.

    Attributes:
        endpoint: The broker's URL, without credentials and path: ``http://...`` or
            ``https://...`` for SQS, ``amqp://...`` or ``amqps://...`` for RabbitMQ; None
            for AWS itself.
        access_key: The user, or the key ID; None to have botocore find credentials, or
            for RabbitMQ's default ``guest``.
        secret_key: The password, or the secret key.
        region: SQS' alone.
        prefix: The first part of the names of queues and exchange.
        virtual_host: RabbitMQ's alone.
        ca_file: Certificates to trust for the broker; None for the system's.
    """

    endpoint: str | None
    access_key: str | None
    secret_key: str | None = field(repr=False)
    region: str
    prefix: str
    virtual_host: str = "/"
    ca_file: str | None = None

    @property
    def is_amqp(self) -> bool:
        """Whether the broker is RabbitMQ, rather than SQS."""
        return self.endpoint is not None and self.endpoint.startswith("amqp")

    @classmethod
    def parse(cls, url: str, *, region: str, prefix: str, ca_file: str | None = None) -> Self:
        """Parse a BROKER_URL.

        Its forms are ``sqs://``, ``sqs://KEY:SECRET@HOST:PORT`` and
        ``amqp://USER:PASSWORD@HOST:PORT/VHOST``; with TLS ``sqs+tls://...`` and
        ``amqps://...``. The `ConfigurationError` about any other does not quote it, as it
        holds a secret.
        """
        parts, netloc = _split(url)
        if parts.scheme not in _SCHEMES:
            raise ConfigurationError(
                "BROKER_URL does not begin with sqs://, sqs+tls://, amqp:// or amqps://: "
                "only SQS and RabbitMQ are supported"
            )
        scheme = _SCHEMES[parts.scheme]
        if scheme.startswith("amqp") and not netloc:
            raise ConfigurationError(f"BROKER_URL begins with {scheme}:// and names no host")
        if scheme.startswith("amqp") and (parts.query or parts.fragment):
            raise ConfigurationError(
                "BROKER_URL must not contain ? or #: percent-encode them in a password or a "
                "virtual host (%3F %23); options are not supported"
            )
        return cls(
            endpoint=f"{scheme}://{netloc}" if netloc else None,
            access_key=unquote(parts.username) if parts.username else None,
            secret_key=unquote(parts.password) if parts.password else None,
            region=region,
            prefix=prefix,
            virtual_host=unquote(parts.path[1:]) or "/",
            ca_file=ca_file,
        )


def _split(url: str) -> tuple[SplitResult, str | None]:
    """Split a URL, and join its host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # urllib's own message quotes a part of the secret.
        raise ConfigurationError(
            "BROKER_URL is invalid: percent-encode / + @ : in its key or secret (%2F %2B %40 %3A)"
        ) from None
    host = parts.hostname
    if host and ":" in host:
        host = f"[{host}]"
    return parts, host if not host or port is None else f"{host}:{port}"
