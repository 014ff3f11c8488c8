"""The admin API of MinIO, which RustFS speaks too, through MinIO's own client."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
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
    """Make a client; nothing is asked of the server yet."""
    parts = urlsplit(store.endpoint or "")
    return MinioAdmin(
        endpoint=parts.netloc,
        credentials=StaticProvider(store.access_key or "", store.secret_key or ""),
        secure=parts.scheme == "https",
        http_client=urllib3.PoolManager(
            timeout=_TIMEOUT,
            # What was posted may have been done: only connecting is tried again.
            retries=urllib3.Retry(connect=3, read=0, redirect=0, backoff_factor=0.2),
            ca_certs=store.ca_file,
        ),
    )


@contextmanager
def admin_refusals(secret: str | None) -> Iterator[None]:
    """Translate what the client raises within the block.

    Args:
        secret: What must not be shown, should the server quote it.

    Raises:
        ConfigurationError: The server refuses.
        TransientError: It can't be reached.
    """
    try:
        yield
    except MinioAdminException as exc:
        message = f"the store's admin API refuses: {exc}"
        if secret:
            message = message.replace(secret, "***")
        # The cause would show it.
        raise ConfigurationError(message) from None
    except (HTTPError, OSError) as exc:
        raise TransientError(f"the store's admin API can't be reached: {exc}") from exc
    except ValueError as exc:
        raise TransientError(f"the store's admin API answers what can't be read: {exc}") from exc


def read_config(admin: MinioAdmin, subsystem: str) -> dict[str, dict[str, str]]:
    """Read the settings of a subsystem, and of each of its targets.

    The server answers ``subsystem:target name=value name="a value"``, a line for
    each target, each after comments for what its own environment says.

    Returns:
        The values by their names, by ``subsystem`` or ``subsystem:target``.
    """
    config = {}
    for line in _config(admin, subsystem).splitlines():
        scope, _, values = line.strip().partition(" ")
        if scope.partition(":")[0] == subsystem:
            pairs = (word.partition("=") for word in shlex.split(values))
            # That a target is on is not said.
            config[scope] = {"enable": "on"} | {name: value for name, _, value in pairs}
    return config


def _config(admin: MinioAdmin, subsystem: str) -> str:
    try:
        return admin.config_get(subsystem)
    except UnboundLocalError as exc:
        # A slip of minio-py 7.2, which so hides why the request failed.
        if isinstance(exc.__context__, Exception):
            raise exc.__context__ from None
        raise


def put_config(
    admin: MinioAdmin,
    scope: str,
    present: Mapping[str, str],
    wanted: Mapping[str, str],
    *,
    dry_run: bool,
) -> bool:
    """Set what is not as it should be; tells whether anything was not."""
    changed = any(present.get(name) != value for name, value in wanted.items())
    if changed and not dry_run:
        admin.config_set(scope, dict(wanted))
    return changed


def policies(admin: MinioAdmin) -> dict[str, Any]:
    """Read all policies for users, by their names."""
    answer: dict[str, Any] = json.loads(admin.policy_list())
    return answer


def policies_of(admin: MinioAdmin, users: Sequence[str]) -> dict[str, frozenset[str]]:
    """Name the policies that each of the users has; one that has none may be left out."""
    answer = json.loads(admin.get_policy_entities(list(users), [], []))
    return {
        each["user"]: frozenset(each.get("policies") or ())
        for each in answer.get("userMappings") or ()
    }
