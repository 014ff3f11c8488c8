"""What S3 stores have in common, and boto3's own clients of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.config import Config

from tests.harness.servers.process import Process, RestartableServer


class AwsAccess(Protocol):
    """The way to a server with AWS's protocols: a `StoreServer`, or settings of dropscribe."""

    @property
    def endpoint(self) -> str | None: ...
    @property
    def access_key(self) -> str | None: ...
    @property
    def secret_key(self) -> str | None: ...


def boto_client(service: str, access: AwsAccess, endpoint: str | None = None, **config: Any) -> Any:
    """Connect with boto3 alone."""
    return boto3.client(
        service,
        endpoint_url=endpoint or access.endpoint,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        region_name="us-east-1",
        config=Config(**config),
    )


@dataclass(frozen=True, slots=True)
class StoreServer(RestartableServer):
    """A running store.

    Attributes:
        settings: dropscribe's, for a user with all rights.
        folder: With its data and logs; removed at the end.
    """

    settings: Mapping[str, str] = field(repr=False)
    folder: Path
    _process: Process = field(repr=False)

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:PORT``, or https; the same after a restart."""
        return self.settings["S3_ENDPOINT"]

    @property
    def port(self) -> int:
        return int(self.endpoint.rsplit(":", 1)[1])

    @property
    def access_key(self) -> str:
        return self.settings["S3_ACCESS_KEY"]

    @property
    def secret_key(self) -> str:
        return self.settings["S3_SECRET_KEY"]


def store_settings(endpoint: str, access_key: str, secret_key: str) -> dict[str, str]:
    """dropscribe's settings for a store."""
    return {"S3_ENDPOINT": endpoint, "S3_ACCESS_KEY": access_key, "S3_SECRET_KEY": secret_key}
