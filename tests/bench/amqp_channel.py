"""A channel to RabbitMQ that is no part of a measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import amqp


@contextmanager
def open_channel(url: str) -> Iterator[Any]:
    """Connect with py-amqp alone while the block runs.

    Args:
        url: The broker's, with login and virtual host.
    """
    parts = urlsplit(url)
    with (
        amqp.Connection(
            parts.netloc.rpartition("@")[2],
            userid=parts.username,
            password=parts.password,
            virtual_host=parts.path[1:],
        ) as connection,
        connection.channel() as channel,
    ):
        yield channel
