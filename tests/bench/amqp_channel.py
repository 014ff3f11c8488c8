"""A channel to RabbitMQ, for what stands outside of what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import amqp


@contextmanager
def open_channel(url: str) -> Iterator[Any]:
    """Connect with py-amqp alone for as long as the block runs.

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
