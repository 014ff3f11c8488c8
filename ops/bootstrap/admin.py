"""The admin API of MinIO and RustFS, through MinIO's own client."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin
from urllib3.exceptions import HTTPError

from consumers.errors import ConfigurationError, TransientError
from ops.wiring.settings import StoreSettings

_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)


def make_admin(store: StoreSettings) -> MinioAdmin:
    """Make a client, without a request."""
    parts = urlsplit(store.endpoint or "")
    return MinioAdmin(
        endpoint=parts.netloc,
        credentials=StaticProvider(store.access_key or "", store.secret_key or ""),
        secure=parts.scheme == "https",
        http_client=urllib3.PoolManager(
            timeout=_TIMEOUT,
            # A server may have carried out a POST: only connecting is tried again.
            retries=urllib3.Retry(connect=3, read=0, redirect=0, backoff_factor=0.2),
            ca_certs=store.ca_file,
        ),
    )


@contextmanager
def admin_refusals(secret: str | None) -> Iterator[None]:
    """Translate the client's errors within the block.

    Args:
        secret: A password to hide, if the server quotes it.

    Raises:
        ConfigurationError: The server refuses a request.
        TransientError: The server is unreachable.
    """
    try:
        yield
    except MinioAdminException as exc:
        message = f"the store's admin API rejected the request: {exc}"
        if secret:
            message = message.replace(secret, "***")
        # The cause would show the password.
        raise ConfigurationError(message) from None
    except (HTTPError, OSError) as exc:
        raise TransientError(f"the store's admin API is unreachable: {exc}") from exc
    except ValueError as exc:
        raise TransientError(f"the store's admin API sent an unreadable response: {exc}") from exc


def read_config(admin: MinioAdmin, subsystem: str) -> dict[str, dict[str, str]]:
    """Read the settings of a subsystem, and of each of its targets.

    The server sends a line ``subsystem:target name=value name="a value"`` for each target,
    after comments for the values from its own environment.

    Returns:
        By ``subsystem`` or ``subsystem:target``: the values by their names.
    """
    config = {}
    for line in _config(admin, subsystem).splitlines():
        scope, _, values = line.strip().partition(" ")
        if scope.partition(":")[0] == subsystem:
            pairs = (word.partition("=") for word in shlex.split(values))
            # The line leaves out that a target is on.
            config[scope] = {"enable": "on"} | {name: value for name, _, value in pairs}
    return config


def _config(admin: MinioAdmin, subsystem: str) -> str:
    try:
        return admin.config_get(subsystem)
    except UnboundLocalError as exc:
        # A bug of minio-py 7.2, which hides why the request failed.
        if isinstance(exc.__context__, Exception):
            raise exc.__context__ from None
        raise


def policies(admin: MinioAdmin) -> dict[str, Any]:
    """Read all policies for users, by name."""
    answer: dict[str, Any] = json.loads(admin.policy_list())
    return answer


def policies_of(admin: MinioAdmin, users: Sequence[str]) -> dict[str, frozenset[str]]:
    """Name the policies of each user; users without any may be missing."""
    answer = json.loads(admin.get_policy_entities(list(users), [], []))
    return {
        each["user"]: frozenset(each.get("policies") or ())
        for each in answer.get("userMappings") or ()
    }
