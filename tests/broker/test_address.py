"""BROKER_URL."""

from __future__ import annotations

import pytest

from consumers.broker.address import BrokerAddress
from consumers.errors import ConfigurationError


def parse(url: str) -> BrokerAddress:
    return BrokerAddress.parse(url, region="us-east-1", prefix="dropscribe", ca_file="/ca.pem")


@pytest.mark.parametrize(
    ("url", "endpoint", "user", "password", "virtual_host"),
    [
        ("amqp://h", "amqp://h", None, None, "/"),
        ("amqp://h/", "amqp://h", None, None, "/"),
        ("amqp://h/%2F", "amqp://h", None, None, "/"),
        ("amqp://u:p@h:5673/v", "amqp://h:5673", "u", "p", "v"),
        ("amqps://u%40x:a%2Fb%3A@[::1]:1/a%2Fb", "amqps://[::1]:1", "u@x", "a/b:", "a/b"),
    ],
)
def test_a_url_is_parsed_into_its_parts(
    url: str, endpoint: str, user: str | None, password: str | None, virtual_host: str
) -> None:
    address = parse(url)
    assert address.is_amqp
    assert address.endpoint == endpoint
    assert (address.access_key, address.secret_key) == (user, password)
    assert address.virtual_host == virtual_host
    assert address.ca_file == "/ca.pem"


@pytest.mark.parametrize("url", ["sqs://", "sqs://k:s@h:1", "sqs+tls://k:s@h"])
def test_an_sqs_is_no_rabbitmq(url: str) -> None:
    assert not parse(url).is_amqp


def test_a_password_is_not_shown() -> None:
    assert "hush" not in repr(parse("amqp://u:hush@h/v"))


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hush@h",
        "amqp://",
        "amqp:///hush",
        "amqp://u:hush/hush@h:1",
        "amqp://u:hush?hush@h:1/",
        "amqp://u:hush@h/?heartbeat=1",
        "amqp://u:hush@h/#x",
        "amqp://u:p@h:hush",
    ],
)
def test_invalid_addresses_are_refused_without_showing_the_secret(url: str) -> None:
    with pytest.raises(ConfigurationError, match="BROKER_URL") as caught:
        parse(url)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
