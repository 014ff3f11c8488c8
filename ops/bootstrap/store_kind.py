"""The kind of the store: chosen, or guessed from its responses."""

from __future__ import annotations

import urllib3
from urllib3.exceptions import HTTPError

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError, TransientError
from ops.wiring.settings import STORE_KINDS, StoreKind, StoreSettings

_SECONDS = 10.0


def choose_store_kind(
    chosen: StoreKind | None, store: StoreSettings, broker: BrokerAddress
) -> StoreKind:
    """Choose the kind of the store, and make sure that it can notify the broker.

    Args:
        chosen: The choice of the command line or the settings; None to ask the store.
        store: The store.
        broker: The broker that it is to notify.

    Raises:
        ConfigurationError: The kind is unclear, or cannot notify this broker.
        TransientError: The store is unreachable.
    """
    kind = chosen or _guess(store, broker)
    if kind == "aws" and broker.is_amqp:
        raise ConfigurationError(
            "AWS S3 sends notifications to SQS, not over AMQP: BROKER_URL must begin with "
            "sqs:// (for another store, set S3_ENDPOINT)"
        )
    if kind != "aws" and not broker.is_amqp:
        raise ConfigurationError(
            f"{kind} sends notifications over AMQP, not to SQS: BROKER_URL must begin with "
            "amqp:// or amqps://"
        )
    return kind


def _guess(store: StoreSettings, broker: BrokerAddress) -> StoreKind:
    # A store that notifies SQS speaks AWS' protocol, as imitations of AWS do.
    if store.endpoint is None or not broker.is_amqp:
        return "aws"
    kind = _ask(store.endpoint.rstrip("/"), store.ca_file)
    if kind is None:
        raise ConfigurationError(
            f"the responses of {store.endpoint} do not show which store it is: set --store "
            f"or STORE_KIND ({', '.join(STORE_KINDS)})"
        )
    return kind


def _ask(endpoint: str, ca_file: str | None) -> StoreKind | None:
    """Send anonymous requests: the stores' refusals differ."""
    retries = urllib3.Retry(total=2, backoff_factor=0.5)
    try:
        with urllib3.PoolManager(timeout=_SECONDS, retries=retries, ca_certs=ca_file) as pool:
            headers = pool.request("GET", f"{endpoint}/").headers
            if headers.get("Server", "").startswith("MinIO"):
                return "minio"
            # Ceph's transaction ids are "tx", 16 or 21 digits, and the place.
            if headers.get("x-amz-request-id", "").startswith("tx0000"):
                return "ceph"
            # RustFS has no header of its own, but names itself.
            if b"rustfs" in pool.request("GET", f"{endpoint}/health").data[:4096].lower():
                return "rustfs"
    except HTTPError as exc:
        raise TransientError(f"the store {endpoint} is unreachable: {exc}") from exc
    return None
