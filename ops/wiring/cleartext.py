"""Nothing goes to another host unencrypted, unless ``ALLOW_CLEARTEXT=1`` says that it may.

What would be readable on the way: credentials, recordings, and what people said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from consumers.network.loopback import is_loopback
from ops.wiring.environment import Environment, SettingError

#: The encrypted form of each scheme.
_ENCRYPTED = {"http": "https://", "amqp": "amqps://", "sqs": "sqs+tls://"}

#: libpq's values of ``sslmode`` with which it never falls back to cleartext.
_SSL_MODES = frozenset({"require", "verify-ca", "verify-full"})

_FLAG = re.compile("[01]")


def check_url(environment: Environment, name: str, scheme: str, endpoint: str | None) -> None:
    """Make sure that a URL to another host is one by TLS.

    Args:
        environment: Where ``ALLOW_CLEARTEXT`` may stand.
        name: The variable that holds the URL.
        scheme: What the URL begins with.
        endpoint: Its host, as a URL of any scheme without credentials; None for AWS.

    Raises:
        SettingError: It is not.
    """
    host = urlsplit(endpoint or "").hostname
    if host is not None and scheme in _ENCRYPTED and not is_loopback(host):
        _refuse(environment, name, host, f"begin it with {_ENCRYPTED[scheme]}")


def check_database_url(environment: Environment, url: str) -> None:
    """Make sure that Postgres on another host is asked for TLS.

    What the URL leaves open, libpq takes from variables of its own (PostgreSQL's
    manual, "Environment Variables"); a service's file can name any host.

    Args:
        environment: Where these, and ``ALLOW_CLEARTEXT``, may stand.
        url: ``DATABASE_URL``, of which libpq can make sense.

    Raises:
        SettingError: It is not.
    """
    given = conninfo_to_dict(url)

    def value(option: str, variable: str) -> str:
        return str(given.get(option) or environment.text(variable, ""))

    # By `system`, libpq takes no less than verify-full.
    if value("sslmode", "PGSSLMODE") in _SSL_MODES or (
        value("sslrootcert", "PGSSLROOTCERT") == "system"
    ):
        return
    advice = "add ?sslmode=verify-full&sslrootcert=/path/to/ca.pem (at least sslmode=require)"
    for host in _hosts(value("host", "PGHOST"), value("hostaddr", "PGHOSTADDR")):
        _refuse(environment, "DATABASE_URL", host, advice)
    if service := value("service", "PGSERVICE"):
        _refuse(environment, "DATABASE_URL", f"the service {service}", advice)


def _hosts(names: str, addresses: str) -> Iterator[str]:
    """Give libpq's hosts, separated by commas, that are neither here nor a Unix socket."""
    for name, address in zip_longest(names.split(","), addresses.split(","), fillvalue=""):
        host = address or name
        if host and not host.startswith(("/", "@")) and not is_loopback(host):
            yield host


def _refuse(environment: Environment, name: str, host: str, advice: str) -> None:
    if environment.matching("ALLOW_CLEARTEXT", "0", _FLAG) == "1":
        return
    raise SettingError(
        f"{name} leads to {host} unencrypted: {advice}, or set ALLOW_CLEARTEXT=1 if the network "
        "in between is private"
    )
