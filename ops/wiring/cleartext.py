"""No connection to another host goes unencrypted, unless ``ALLOW_CLEARTEXT=1`` allows it.

Otherwise credentials, recordings and what people said could be read on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from consumers.network.loopback import is_loopback
from ops.wiring.environment import SettingError

#: The encrypted form of each scheme.
_ENCRYPTED = {"http": "https://", "amqp": "amqps://", "sqs": "sqs+tls://"}

#: libpq's values of ``sslmode`` with which it never falls back to cleartext.
_SSL_MODES = frozenset({"require", "verify-ca", "verify-full"})


def check_url(name: str, url: str, endpoint: str | None, *, allow: str) -> None:
    """Check that a URL to another host uses TLS.

    Args:
        name: The variable that holds the URL.
        url: The URL.
        endpoint: Its host, as a URL of any scheme without credentials; None for AWS.
        allow: The value of ``ALLOW_CLEARTEXT``.

    Raises:
        SettingError: It uses none.
    """
    scheme = url.partition(":")[0].lower()
    host = urlsplit(endpoint or "").hostname
    if host is not None and scheme in _ENCRYPTED and not is_loopback(host):
        _refuse(name, host, f"begin it with {_ENCRYPTED[scheme]}", allow)


def check_database_url(url: str, libpq: Mapping[str, str | None], *, allow: str) -> None:
    """Check that libpq connects to Postgres on another host by TLS only.

    What the URL leaves open, libpq takes from variables of its own (PostgreSQL's
    manual, "Environment Variables"); a service file can name any host.

    Args:
        url: ``DATABASE_URL``, in a form that libpq accepts.
        libpq: The values of these variables, by the options for which they stand in.
        allow: The value of ``ALLOW_CLEARTEXT``.

    Raises:
        SettingError: It may connect without.
    """
    given = conninfo_to_dict(url)
    option = {name: str(given.get(name) or value or "") for name, value in libpq.items()}
    # With `system`, libpq accepts nothing less than verify-full.
    if option["sslmode"] in _SSL_MODES or option["sslrootcert"] == "system":
        return
    advice = "add ?sslmode=verify-full&sslrootcert=/path/to/ca.pem (at least sslmode=require)"
    for host in _hosts(option["host"], option["hostaddr"]):
        _refuse("DATABASE_URL", host, advice, allow)
    if service := option["service"]:
        _refuse("DATABASE_URL", f"the service {service}", advice, allow)


def _hosts(names: str, addresses: str) -> Iterator[str]:
    """Find the hosts in libpq's lists that are neither this machine nor a Unix socket."""
    for name, address in zip_longest(names.split(","), addresses.split(","), fillvalue=""):
        host = address or name
        if host and not host.startswith(("/", "@")) and not is_loopback(host):
            yield host


def _refuse(name: str, host: str, advice: str, allow: str) -> None:
    if allow == "1":
        return
    if allow != "0":
        raise SettingError(f"ALLOW_CLEARTEXT={allow!r} is invalid: must be 0 or 1")
    raise SettingError(
        f"{name} leads to {host} unencrypted: {advice}, or set ALLOW_CLEARTEXT=1 if the network "
        "in between is private"
    )
