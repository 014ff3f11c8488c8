"""botocore clients, for AWS' own services and for what speaks their protocols."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from consumers.network.loopback import is_loopback


def make_client(
    service: str,
    *,
    endpoint: str | None,
    access_key: str | None,
    secret_key: str | None,
    region: str,
    ca_file: str | None = None,
    timeout: float = 60.0,
    connections: int = 10,
) -> Any:
    """Make a client; nothing is asked of the service yet.

    Without an endpoint it is AWS itself, whatever ``AWS_ENDPOINT_URL`` or a shared
    file says, which may be unencrypted; without keys, botocore looks for
    credentials where it always does (an instance's role, a shared file);
    ``timeout`` is how many seconds an answer may keep us waiting;
    without a ``ca_file``, certificates have to be signed by whom botocore trusts.
    """
    config = Config(
        connect_timeout=10,
        read_timeout=timeout,
        max_pool_connections=connections,
        retries={"mode": "standard", "max_attempts": 4},
        # Other stores than AWS may be reached by an address without wildcard DNS.
        s3={"addressing_style": "auto" if endpoint is None else "path"},
        # By TLS botocore would send its checksums as trailers, of which Ceph 16 knows nothing.
        request_checksum_calculation="when_supported" if endpoint is None else "when_required",
        response_checksum_validation="when_supported" if endpoint is None else "when_required",
        proxies=proxies_for(endpoint),
        ignore_configured_endpoint_urls=True,
    )
    session = boto3.session.Session(
        aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=region
    )
    return session.client(service, endpoint_url=endpoint, config=config, verify=ca_file)


def proxies_for(endpoint: str | None) -> dict[str, str] | None:
    """Say which proxies lead to an endpoint: none to this machine, else the environment's."""
    return {} if is_loopback(urlsplit(endpoint or "").hostname or "") else None
