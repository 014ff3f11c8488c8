"""The broker's URL, as it is told to a store."""

from __future__ import annotations

from urllib.parse import quote

from consumers.broker.address import BrokerAddress


def amqp_url(broker: BrokerAddress, *, with_password: bool = True) -> str:
    """Write where a RabbitMQ is as one URL.

    The virtual host ``/`` is left out rather than written ``%2F``, which not
    every store reads as RabbitMQ's own tools do.
    """
    scheme, _, netloc = (broker.endpoint or "").partition("://")
    path = "" if broker.virtual_host == "/" else "/" + quote(broker.virtual_host, safe="")
    user = ""
    if with_password and broker.access_key is not None:
        password = quote(broker.secret_key or "", safe="")
        user = f"{quote(broker.access_key, safe='')}:{password}@"
    return f"{scheme}://{user}{netloc}{path}"
