"""Passwords as PostgreSQL stores them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

_ITERATIONS = 4096
_SALT = 16


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
        return {"scram_sha_256": scram_sha_256}
