"""botocore clients, for AWS and for other servers with its protocols."""

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
    """Make a client; it sends no request yet.

    Args:
        service: botocore's name, such as ``s3``.
        endpoint: None for AWS itself; ``AWS_ENDPOINT_URL`` and shared files are ignored, as
            they may name an unencrypted one.
        access_key: None for botocore's usual sources, such as an instance's role.
        secret_key: Likewise.
        region: AWS's name of it.
        ca_file: Certificates to trust instead of botocore's.
        timeout: Read timeout, in seconds.
        connections: The size of the pool.
    """
    config = Config(
        connect_timeout=10,
        read_timeout=timeout,
        max_pool_connections=connections,
        retries={"mode": "standard", "max_attempts": 4},
        # Other stores may have no wildcard DNS.
        s3={"addressing_style": "auto" if endpoint is None else "path"},
        # Over TLS botocore sends its checksums as trailers, which Ceph 16 does not support.
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
    """Return botocore's proxies for an endpoint: none on this machine, else the environment's."""
    return {} if is_loopback(urlsplit(endpoint or "").hostname or "") else None
