"""RabbitMQ's definitions: users and their permissions, and a comparison with the server's."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_SALT = 4

#: The fields that identify an entry.
_KEYS = {
    "users": ("name",),
    "vhosts": ("name",),
    "permissions": ("user", "vhost"),
}

_PERMISSIONS = ("configure", "write", "read")
_DEFAULT_EXCHANGE = r"amq\.default"
_NAMED_BY_RABBITMQ = r"amq\.gen-.*"


def rabbitmq_users(routes: Sequence[str], prefix: str, store: str) -> list[dict[str, str]]:
    """List the users with their permissions, limited to the needs of their programs.

    A consumer reads its own queues and writes to the default exchange (retries, dead letters,
    review items). It declares only the queue that renews its hold on long work, for which
    RabbitMQ requires write permission on that queue's dead-letter target, and read permission.
    Bootstrap declares all else.

    Args:
        routes: The deployed ones.
        prefix: The prefix of queue names, and the exchange's name.
        store: ``aws`` does not send to RabbitMQ.
    """
    everything = f"^{prefix}(-.*)?$"
    users = [
        _user(
            route,
            configure=f"^{prefix}-{route}-lease-.*$",
            write=f"^({_DEFAULT_EXCHANGE}|{prefix}-{route}(-.*)?)$",
            read=f"^{prefix}-{route}(-.*)?$",
        )
        for route in routes
    ]
    publish = f"^({_DEFAULT_EXCHANGE}|{prefix}(-.*)?)$"
    users.append(_user("operator", write=publish, read=everything))
    users.append(_user("bootstrap", configure=everything, write=publish, read=everything))
    if store == "ceph":
        # The gateway reads confirmations from a queue named by RabbitMQ.
        own = f"^{_NAMED_BY_RABBITMQ}$"
        write = f"^({prefix}|{_NAMED_BY_RABBITMQ})$"
        users.append(_user("store", configure=own, write=write, read=own))
    elif store != "aws":
        # These stores redeclare the exchange with each event.
        users.append(_user("store", configure=f"^{prefix}$", write=f"^{prefix}$"))
    return users


def rabbitmq_definitions(
    users: Sequence[Mapping[str, str]],
    passwords: Mapping[str, str],
    vhost: str,
    more: Sequence[Mapping[str, str]] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Return definitions for ``rabbitmqctl import_definitions``.

    Args:
        users: From `rabbitmq_users`.
        passwords: Theirs, by name.
        vhost: Their virtual host.
        more: The operator's own users, each with its password.
    """
    everybody = [{**user, "password": passwords[user["name"]]} for user in users]
    everybody += [{**_user(user["name"]), **user} for user in more]
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            {
                "name": user["name"],
                "password_hash": rabbitmq_password_hash(user["password"], user["name"]),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for user in everybody
        ],
        "permissions": [
            {"user": user["name"], "vhost": vhost, **{each: user[each] for each in _PERMISSIONS}}
            for user in everybody
        ],
    }


def rabbitmq_password_hash(password: str, user: str) -> str:
    """Hash a password for RabbitMQ's definitions.

    The hash is base64 of a salt of four bytes and SHA-256 over salt and password (RabbitMQ's
    manual, "Credentials and Passwords"). The salt is derived from user and password, so that
    a second run gives the same.
    """
    salt = hmac.digest(password.encode(), f"rabbitmq {user}".encode(), "sha256")[:_SALT]
    digest = hashlib.sha256(salt + password.encode()).digest()
    return base64.b64encode(salt + digest).decode()


def missing_definitions(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """List the entries that RabbitMQ lacks or has otherwise, without their passwords.

    Args:
        wanted: The definitions to import.
        present: The output of ``rabbitmqctl export_definitions``.
    """
    missing = []
    for kind, keys in _KEYS.items():
        there = {_identity(thing, keys): thing for thing in present.get(kind, [])}
        for thing in wanted.get(kind, []):
            name = _identity(thing, keys)
            same = there.get(name, {})
            # RabbitMQ adds other fields.
            if any(same.get(field) != value for field, value in thing.items()):
                missing.append(f"{kind} {' '.join(name)}")
    return missing


def _user(name: str, **permissions: str) -> dict[str, str]:
    return {"name": name, **dict.fromkeys(_PERMISSIONS, "^$"), **permissions}


def _identity(thing: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(thing[key]) for key in keys)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name the filters."""
        return {
            "missing_definitions": missing_definitions,
            "rabbitmq_definitions": rabbitmq_definitions,
            "rabbitmq_users": rabbitmq_users,
        }
