"""Credentials, recordings and what people said reach other hosts encrypted, or not at all."""

from __future__ import annotations

import pytest

from consumers.network.aws import make_client
from ops.wiring.environment import Environment, SettingError
from ops.wiring.settings import BrokerSettings, DatabaseSettings, StoreSettings

CREDENTIALS = {"S3_ACCESS_KEY": "key", "S3_SECRET_KEY": "hush"}

TO_OTHERS = [
    {"S3_ENDPOINT": "http://minio:9000"},
    {"S3_ENDPOINT": "http://10.0.0.7"},
    {"S3_ENDPOINT": "http://[fd00::7]:9000"},
    {"S3_ENDPOINT": "http://127.0.0.1.example.com"},
    {"BROKER_URL": "amqp://user:hush@rabbit/vhost"},
    {"BROKER_URL": "AMQP://user:hush@rabbit"},
    {"BROKER_URL": "sqs://key:hush@queues:4566"},
    {"DATABASE_URL": "postgresql://user:hush@db/dropscribe"},
    {"DATABASE_URL": "postgresql://user:hush@db/dropscribe?sslmode=prefer"},
    {"DATABASE_URL": "postgresql://user:hush@db/dropscribe?sslmode=disable"},
    {"DATABASE_URL": "postgresql:///dropscribe?host=db&password=hush"},
    {"DATABASE_URL": "postgresql://user:hush@localhost,db/dropscribe"},
    {"DATABASE_URL": "postgresql://user:hush@localhost/dropscribe?hostaddr=10.0.0.7"},
    {"DATABASE_URL": "postgresql:///dropscribe?service=hushed"},
    {"DATABASE_URL": "postgresql:///dropscribe", "PGHOST": "db"},
    {"DATABASE_URL": "postgresql://localhost/dropscribe", "PGHOSTADDR": "10.0.0.7"},
    {"DATABASE_URL": "postgresql:///dropscribe", "PGSERVICE": "production"},
]

FINE = [
    {"S3_ENDPOINT": "https://minio:9000"},
    {"S3_ENDPOINT": "http://localhost:9000"},
    {"S3_ENDPOINT": "http://127.0.0.1:9000"},
    {"S3_ENDPOINT": "http://[::1]:9000"},
    {"BROKER_URL": "amqps://user:hush@rabbit/vhost"},
    {"BROKER_URL": "amqp://guest:guest@127.0.0.1:5672/"},
    {"BROKER_URL": "sqs://"},
    {"BROKER_URL": "sqs+tls://key:hush@queues"},
    {"BROKER_URL": "sqs://key:hush@127.0.0.1:4566"},
    {"DATABASE_URL": "postgresql://user:hush@db/dropscribe?sslmode=require"},
    {"DATABASE_URL": "postgresql://user:hush@db/dropscribe?sslmode=verify-full&sslrootcert=/ca"},
    {"DATABASE_URL": "postgresql://user:hush@db/dropscribe?sslrootcert=system"},
    {"DATABASE_URL": "postgresql://user:hush@db/dropscribe", "PGSSLMODE": "verify-ca"},
    {"DATABASE_URL": "postgresql://user:hush@db/dropscribe?ssl=true"},
    {"DATABASE_URL": "postgresql://user:hush@127.0.0.1/dropscribe"},
    {"DATABASE_URL": "postgresql://user:hush@[::1]/dropscribe"},
    {"DATABASE_URL": "postgresql://user@/dropscribe"},
    {"DATABASE_URL": "postgresql:///dropscribe?host=/run/postgresql"},
    {"DATABASE_URL": "postgresql:///dropscribe?host=@abstract"},
    {"DATABASE_URL": "postgresql:///dropscribe?service=ours&sslmode=require"},
]


def read(variables: dict[str, str]) -> str | None:
    """Read the settings of the server that the first variable names; gives its URL."""
    environment = Environment({**CREDENTIALS, **variables})
    if "S3_ENDPOINT" in variables:
        return StoreSettings.read(environment).endpoint
    if "BROKER_URL" in variables:
        return BrokerSettings.read(environment).url
    return DatabaseSettings.read(environment).url


@pytest.mark.parametrize("variables", TO_OTHERS)
def test_cleartext_to_another_host_is_refused(variables: dict[str, str]) -> None:
    name = next(iter(variables))
    with pytest.raises(SettingError, match=rf"{name} .* unencrypted: .*ALLOW_CLEARTEXT") as caught:
        read(variables)
    assert "hush@" not in str(caught.value)


@pytest.mark.parametrize("variables", TO_OTHERS)
def test_cleartext_can_be_allowed(variables: dict[str, str]) -> None:
    url = next(iter(variables.values()))
    assert read({**variables, "ALLOW_CLEARTEXT": "1"}) == url


@pytest.mark.parametrize("variables", TO_OTHERS)
@pytest.mark.parametrize("value", ["0", "", "true"])
def test_only_1_allows_cleartext(variables: dict[str, str], value: str) -> None:
    with pytest.raises(SettingError, match="ALLOW_CLEARTEXT"):
        read({**variables, "ALLOW_CLEARTEXT": value})


@pytest.mark.parametrize("variables", FINE)
def test_encrypted_and_loopback_connections_are_accepted(variables: dict[str, str]) -> None:
    assert read(variables) == next(iter(variables.values()))


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"S3_ENDPOINT": "http://minio:9000"}, "begin it with https://"),
        ({"BROKER_URL": "amqp://rabbit"}, "begin it with amqps://"),
        ({"BROKER_URL": "sqs://k:s@queues"}, r"begin it with sqs\+tls://"),
        ({"DATABASE_URL": "postgresql://db/d"}, "sslmode=verify-full"),
    ],
)
def test_the_error_names_the_remedy(variables: dict[str, str], advice: str) -> None:
    with pytest.raises(SettingError, match=advice):
        read(variables)


@pytest.mark.parametrize("service", ["s3", "sqs"])
def test_the_default_endpoint_is_aws(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another variable of botocore's would lead around all that is checked here."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://10.0.0.7:9000")
    client = make_client(
        service, endpoint=None, access_key="key", secret_key="hush", region="us-east-1"
    )
    assert client.meta.endpoint_url.startswith("https://")
    assert "amazonaws.com" in client.meta.endpoint_url
    client.close()
