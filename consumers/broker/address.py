"""Where the broker is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from consumers.errors import ConfigurationError

_SCHEMES = {"sqs": "http", "sqs+tls": "https"}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is, and how dropscribe's queues are called there.

    Attributes:
        endpoint: The queue service's URL; None for AWS itself.
        access_key: Its key id; None where botocore is to find credentials.
        secret_key: Its secret.
        region: SQS' region.
        prefix: What the queues' names begin with.
    """

    endpoint: str | None
    access_key: str | None
    secret_key: str | None = field(repr=False)
    region: str
    prefix: str

    @classmethod
    def parse(cls, url: str, *, region: str, prefix: str) -> Self:
        """Read ``sqs://``, ``sqs://KEY:SECRET@HOST:PORT`` or, by TLS, ``sqs+tls://...``.

        Raises:
            ConfigurationError: It is of no such form. The URL is not in the
                message, as it holds a secret.
        """
        parts, netloc = _split(url)
        if parts.scheme not in _SCHEMES:
            raise ConfigurationError(
                "BROKER_URL does not begin with sqs:// or sqs+tls://: no other broker is spoken"
            )
        return cls(
            endpoint=f"{_SCHEMES[parts.scheme]}://{netloc}" if netloc else None,
            access_key=unquote(parts.username) if parts.username else None,
            secret_key=unquote(parts.password) if parts.password else None,
            region=region,
            prefix=prefix,
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
    if not parts.hostname or port is None:
        return parts, parts.hostname
    return parts, f"{parts.hostname}:{port}"
