"""Where the broker is."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from consumers.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is, and how dropscribe's queues are called there.

    Attributes:
        url: ``sqs://`` for AWS itself, ``sqs://KEY:SECRET@HOST:PORT`` for another SQS
            (``sqs+tls://`` by TLS). Never logged: it can hold a password.
        region: SQS' region.
        prefix: What the queues' names begin with.
    """

    url: str = field(repr=False)
    region: str
    prefix: str

    def __post_init__(self) -> None:
        if self.scheme not in {"sqs", "sqs+tls"}:
            raise ConfigurationError(
                f"BROKER_URL begins with {self.scheme!r}: a broker by sqs:// is what is spoken"
            )

    @property
    def scheme(self) -> str:
        """The URL's scheme."""
        return urlsplit(self.url).scheme

    @property
    def endpoint(self) -> str | None:
        """The SQS endpoint; None for AWS itself."""
        parts = urlsplit(self.url)
        if not parts.hostname:
            return None
        protocol = "https" if self.scheme == "sqs+tls" else "http"
        port = f":{parts.port}" if parts.port else ""
        return f"{protocol}://{parts.hostname}{port}"

    @property
    def access_key(self) -> str | None:
        """The key id in the URL, if it holds one."""
        user = urlsplit(self.url).username
        return unquote(user) if user else None

    @property
    def secret_key(self) -> str | None:
        """The secret in the URL, if it holds one."""
        password = urlsplit(self.url).password
        return unquote(password) if password else None
