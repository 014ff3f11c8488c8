"""botocore clients, for AWS and for other servers with its protocols."""

from __future__ import annotations

import gzip
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import msgspec
from botocore.config import Config
from botocore.loaders import JSONFileLoader, Loader, create_loader
from botocore.session import Session

from consumers.network.loopback import is_loopback


class _DescriptionFiles(JSONFileLoader):  # type: ignore[misc]
    """botocore's descriptions of services: msgspec reads these megabytes in half of the time."""

    def load_file(self, file_path: str) -> Any:
        """Read a file, whose name is given without its suffix; None if it does not exist."""
        for suffix, opened in ((".json", open), (".json.gz", gzip.open)):
            with suppress(FileNotFoundError), opened(file_path + suffix, "rb") as file:
                return msgspec.json.decode(file.read())
        return None


@cache
def _descriptions(search_path: str | None) -> Loader:
    """Share what was read: by default each client reads all of it again, a tenth of a second."""
    loader = create_loader(search_path)
    loader.file_loader = _DescriptionFiles()
    return loader


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
    session = Session()
    search_path = session.get_config_variable("data_path")
    session.register_component("data_loader", _descriptions(search_path))
    return session.create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        config=config,
        verify=ca_file,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )


def proxies_for(endpoint: str | None) -> dict[str, str] | None:
    """Return botocore's proxies for an endpoint: none on this machine, else the environment's."""
    return {} if is_loopback(urlsplit(endpoint or "").hostname or "") else None
