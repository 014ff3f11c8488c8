"""The credentials of a role, a file each on its host, and passwords as PostgreSQL stores them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

_ITERATIONS = 4096
_SALT = 16


def broker_url(endpoints: Mapping[str, Any], user: str, password: str) -> str:
    """Return a user's ``BROKER_URL``."""
    at = f"{endpoints['broker_address']}:{endpoints['broker_port']}"
    vhost = quote(str(endpoints["broker_vhost"]), safe="")
    return f"amqps://{quote(user, safe='')}:{quote(password, safe='')}@{at}/{vhost}"


def database_url(endpoints: Mapping[str, Any], user: str, password: str) -> str:
    """Return a user's ``DATABASE_URL``, which requires a verified server certificate."""
    at = f"{endpoints['database_address']}:{endpoints['database_port']}"
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
    options = f"sslmode=verify-full&sslrootcert={quote(str(endpoints['ca_file']), safe='/')}"
    name = quote(str(endpoints["database_name"]), safe="")
    return f"postgresql://{credentials}@{at}/{name}?{options}"


def credential_files(
    roles: Iterable[str],
    endpoints: Mapping[str, Any],
    store_keys: Mapping[str, Mapping[str, str]],
    broker_passwords: Mapping[str, str],
    database_passwords: Mapping[str, str],
    more: Mapping[str, Mapping[str, str]],
) -> list[dict[str, str]]:
    """List the files with the secrets of some roles.

    Args:
        roles: Such as ``unpack``; each logs in to broker and database under its own name.
        endpoints: ``dropscribe_endpoints``.
        store_keys: ``secret_key`` by role; none if the store needs none.
        broker_passwords: By role.
        database_passwords: By role.
        more: Further secrets by role and setting, such as ``POLICY_ENDPOINT_KEY``.

    Returns:
        For each file its role and setting, the credential's ``name``, its path below the
        folder of credentials (``file``), and its content (``value``).
    """
    files = []
    for role in roles:
        secrets = {
            "BROKER_URL": broker_url(endpoints, role, broker_passwords[role]),
            "DATABASE_URL": database_url(endpoints, role, database_passwords[role]),
        }
        if role in store_keys:
            secrets["S3_SECRET_KEY"] = store_keys[role]["secret_key"]
        secrets.update(more.get(role, {}))
        for setting, value in sorted(secrets.items()):
            name = setting.lower().replace("_", "-")
            file = {"role": role, "setting": setting, "name": name, "file": f"{role}/{name}"}
            files.append({**file, "value": value})
    return files


def scram_sha_256(password: str, user: str) -> str:
    """Return a password in PostgreSQL's stored form (its manual on pg_authid; RFC 5803).

    The salt is derived from user and password, so that a second run gives the same. The
    password itself never reaches the server.

    Raises:
        ValueError: The password is not printable ASCII; others would need normalisation.
    """
    if not (password.isascii() and password.isprintable()):
        raise ValueError(f"the password of {user} is not printable ASCII")
    salt = hmac.digest(password.encode(), f"postgresql {user}".encode(), "sha256")[:_SALT]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    first, second, third = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{first}${second}:{third}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name the filters."""
        return {
            "broker_url": broker_url,
            "credential_files": credential_files,
            "database_url": database_url,
            "scram_sha_256": scram_sha_256,
        }
