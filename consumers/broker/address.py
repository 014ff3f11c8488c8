"""Where the broker is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from consumers.errors import ConfigurationError

#: What a BROKER_URL begins with, and how its service is reached.
_SCHEMES = {"sqs": "http", "sqs+tls": "https", "amqp": "amqp", "amqps": "amqps"}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is, and how dropscribe's queues are called there.

    Attributes:
        endpoint: The broker's URL, without credentials and path: ``http://...``
            or ``https://...`` for an SQS, ``amqp://...`` or, by TLS,
            ``amqps://...`` for a RabbitMQ; None for AWS itself.
        access_key: The user, or the key id; None where botocore is to find
            credentials, or where RabbitMQ's own ``guest`` is meant.
        secret_key: Its password, or its secret.
        region: SQS' region.
        prefix: What the names of queues and exchange begin with.
        virtual_host: RabbitMQ's virtual host.
        ca_file: Path of the certificates that the broker's own has to be signed
            by; None for those that the system trusts.
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
        """Whether this is a RabbitMQ, rather than an SQS."""
        return self.endpoint is not None and self.endpoint.startswith("amqp")

    @classmethod
    def parse(cls, url: str, *, region: str, prefix: str, ca_file: str | None = None) -> Self:
        """Read where the broker is.

        It is ``sqs://``, ``sqs://KEY:SECRET@HOST:PORT`` or
        ``amqp://USER:PASSWORD@HOST:PORT/VHOST``; by TLS ``sqs+tls://...`` or
        ``amqps://...``.

        Raises:
            ConfigurationError: It is of no such form. The URL is not in the
                message, as it holds a secret.
        """
        parts, netloc = _split(url)
        if parts.scheme not in _SCHEMES:
            raise ConfigurationError(
                "BROKER_URL does not begin with sqs://, sqs+tls://, amqp:// or amqps://: "
                "no other broker is spoken"
            )
        scheme = _SCHEMES[parts.scheme]
        if scheme.startswith("amqp") and not netloc:
            raise ConfigurationError(f"BROKER_URL begins with {scheme}:// and names no host")
        if scheme.startswith("amqp") and (parts.query or parts.fragment):
            raise ConfigurationError(
                "BROKER_URL may hold no ? and no #: in a password or a virtual host they have to "
                "be percent-encoded (%3F %23), and options are none of its parts"
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
    """Split a URL; also gives its host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # What urllib says would quote a part of the secret.
        raise ConfigurationError(
            "BROKER_URL can't be read: / + @ : in its key or secret have to be percent-encoded "
            "(%2F %2B %40 %3A)"
        ) from None
    host = parts.hostname
    if host and ":" in host:
        host = f"[{host}]"
    if not host or port is None:
        return parts, host
    return parts, f"{host}:{port}"
