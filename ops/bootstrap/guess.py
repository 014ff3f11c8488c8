"""Which store it is, where nobody has said."""

from __future__ import annotations

import urllib3
from urllib3.exceptions import HTTPError

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError, TransientError
from ops.wiring.settings import STORE_KINDS, StoreKind, StoreSettings

_SECONDS = 10.0


def settle(said: StoreKind | None, store: StoreSettings, broker: BrokerAddress) -> StoreKind:
    """Say which store it is, and make sure that it can announce to the broker.

    Args:
        said: What the command line or the settings say.
        store: Where it is; asked where nobody has said.
        broker: Where it is to announce.

    Raises:
        ConfigurationError: It can't be told, or the two don't go together.
        TransientError: The store can't be reached.
    """
    kind = said or _guess(store, broker)
    if kind == "aws" and broker.is_amqp:
        raise ConfigurationError(
            "AWS S3 announces to SQS, and not over AMQP: with it BROKER_URL has to begin with "
            "sqs:// (for another store, set S3_ENDPOINT)"
        )
    if kind != "aws" and not broker.is_amqp:
        raise ConfigurationError(
            f"{kind} announces over AMQP, and not to SQS: with it BROKER_URL has to begin with "
            "amqp:// or amqps://"
        )
    return kind


def _guess(store: StoreSettings, broker: BrokerAddress) -> StoreKind:
    # Whatever announces to SQS does so by AWS' own protocol; so do its imitations.
    if store.endpoint is None or not broker.is_amqp:
        return "aws"
    kind = _ask(store.endpoint.rstrip("/"), store.ca_file)
    if kind is None:
        raise ConfigurationError(
            f"which store {store.endpoint} is can't be told from its answers: say so, by --store "
            f"or STORE_KIND ({', '.join(STORE_KINDS)})"
        )
    return kind


def _ask(endpoint: str, ca_file: str | None) -> StoreKind | None:
    """Ask as nobody in particular: the stores' refusals differ enough."""
    retries = urllib3.Retry(total=2, backoff_factor=0.5)
    try:
        with urllib3.PoolManager(timeout=_SECONDS, retries=retries, ca_certs=ca_file) as pool:
            headers = pool.request("GET", f"{endpoint}/").headers
            if headers.get("Server", "").startswith("MinIO"):
                return "minio"
            # Ceph's ids of transactions are "tx", 16 or 21 digits, and where it was.
            if headers.get("x-amz-request-id", "").startswith("tx0000"):
                return "ceph"
            # RustFS has no header of its own, but says what it is.
            if b"rustfs" in pool.request("GET", f"{endpoint}/health").data[:4096].lower():
                return "rustfs"
    except HTTPError as exc:
        raise TransientError(f"the store {endpoint} can't be reached: {exc}") from exc
    return None
