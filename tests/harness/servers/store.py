"""What a deployment needs of an S3 store, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class StoreServer(Protocol):
    """A running store, such as `tests.harness.servers.ceph.CephGateway`."""

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:PORT``; the same after a restart."""

    @property
    def settings(self) -> Mapping[str, str]:
        """dropscribe's settings for a user with all rights."""

    def kill(self) -> None:
        """Kill it, by SIGKILL."""

    def start(self) -> None:
        """Start it after it was killed; its objects are still there."""
