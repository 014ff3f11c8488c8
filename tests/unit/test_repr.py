"""What holds a secret does not show it: a repr ends in logs and tracebacks."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from kombu import Connection
from pydantic import BaseModel

import consumers
import ops
from consumers.broker.address import BrokerAddress
from consumers.broker.amqp_connection import make_connection

#: What fields are called that hold credentials, or something with credentials in it.
SECRETIVE = {"secret_key", "endpoint_key", "password", "url", "database_url", "variables"}


def modules() -> Iterator[str]:
    for package in (consumers, ops):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                yield module.name


def shown(name: str) -> Iterator[str]:
    """Name the fields that the reprs of a module's values show."""
    for value in vars(importlib.import_module(name)).values():
        for field, is_shown in fields(value):
            if is_shown and field.lstrip("_") in SECRETIVE:
                yield f"{value.__module__}.{value.__name__}.{field}"


def fields(value: object) -> Iterator[tuple[str, bool]]:
    if isinstance(value, type) and dataclasses.is_dataclass(value):
        yield from ((field.name, field.repr) for field in dataclasses.fields(value))
    if isinstance(value, type) and issubclass(value, BaseModel):
        yield from ((name, field.repr) for name, field in value.model_fields.items())


def test_no_repr_shows_a_field_that_holds_secrets() -> None:
    assert sorted({field for name in modules() for field in shown(name)}) == []


@pytest.mark.parametrize("url", ["amqp://user:hush@127.0.0.1", "amqps://user:hush@127.0.0.1"])
def test_kombus_connection_does_not_show_its_password(url: str) -> None:
    address = BrokerAddress.parse(url, region="", prefix="dropscribe")
    connection: Connection = make_connection(address, heartbeat=30, connect_timeout=5)
    for shown in (repr(connection), str(connection), connection.as_uri(), repr(address)):
        assert "user" in shown
        assert "hush" not in shown
