"""Settings come from environment variables, and errors name the variable."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import pytest

from consumers.errors import ConfigurationError
from ops.wiring.environment import Environment, SettingError
from ops.wiring.settings import (
    DatabaseSettings,
    SpeechSettings,
    StoreSettings,
    UnpackSettings,
    read_broker_address,
)

STORE = {
    "S3_ENDPOINT": "http://127.0.0.1:9000",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": "hush",
}


def test_the_bucket_has_a_default() -> None:
    settings = StoreSettings.read(Environment(STORE))
    assert settings.bucket == "audio-pipeline"
    assert settings.region == "us-east-1"


def test_without_an_endpoint_it_is_aws_by_its_own_credentials() -> None:
    settings = StoreSettings.read(Environment({}))
    assert (settings.endpoint, settings.access_key, settings.secret_key) == (None, None, None)


def test_a_secret_can_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hush\n")
    variables = {**STORE, "S3_SECRET_KEY": "", "S3_SECRET_KEY_FILE": str(file)}
    assert StoreSettings.read(Environment(variables)).secret_key == "hush"


def test_no_secret_is_ever_in_a_repr() -> None:
    environment = Environment(
        {**STORE, "DATABASE_URL": "postgresql://u:hush@/d", "BROKER_URL": "sqs+tls://k:hush@h"}
    )
    for settings in (
        StoreSettings.read(environment),
        DatabaseSettings.read(environment),
        read_broker_address(environment),
        environment,
    ):
        assert "hush" not in repr(settings)
        assert "hush" not in str(settings)


def read_everything(environment: Environment) -> None:
    StoreSettings.read(environment)
    DatabaseSettings.read(environment)
    read_broker_address(environment)
    UnpackSettings.read(environment)
    SpeechSettings.read(environment)


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"S3_ENDPOINT": "minio:9000"}, "S3_ENDPOINT"),
        ({"S3_ENDPOINT": "http://127.0.0.1:9000"}, "S3_ACCESS_KEY"),
        ({"S3_ENDPOINT": "http://127.0.0.1:9000", "S3_ACCESS_KEY": "k"}, "S3_SECRET_KEY"),
        ({"S3_ACCESS_KEY": "k"}, "S3_SECRET_KEY"),
        ({"S3_SECRET_KEY_FILE": "/none"}, "S3_SECRET_KEY_FILE"),
        ({"S3_SECRET_KEY_FILE": "hush, put into the wrong variable"}, "S3_SECRET_KEY_FILE"),
        ({"S3_SECRET_KEY_FILE": sys.executable}, "S3_SECRET_KEY_FILE"),
        ({**STORE, "S3_ENDPOINT": "https://key:hush@host"}, "S3_ENDPOINT"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://h/d"}, "DATABASE_URL"),
        ({"BROKER_URL": ""}, "BROKER_URL"),
        ({"BROKER_URL": "http://h"}, "BROKER_URL"),
        ({"BROKER_URL": "sqs://key:hush/hush@h:1"}, "BROKER_URL"),
        ({"DATABASE_URL": "postgresql://u:hu%sh@h/d"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:p@hush@h/d"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:p@ss:hush@h/d"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:p/hush@h/d"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:1/hush@h/d"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:1?hush@h/d"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:1?hush=2@h/d"}, "DATABASE_URL"),
        ({"S3_BUCKET": "Not A Bucket"}, "S3_BUCKET"),
        ({"S3_REGION": "us east"}, "S3_REGION"),
        ({"BROKER_PREFIX": "a.b"}, "BROKER_PREFIX"),
        ({**STORE, "S3_ENDPOINT": "http://bad host"}, "S3_ENDPOINT"),
        ({"OPUS_BIT_RATE": "9999999"}, "OPUS_BIT_RATE"),
        ({"SILENCE_DBFS": "nan"}, "SILENCE_DBFS"),
        ({"SCRATCH_ROOT": "relative"}, "SCRATCH_ROOT"),
        ({"SCRATCH_ROOT": "/none/such"}, "SCRATCH_ROOT"),
        ({"UNPACK_PROCESSES": "many"}, "UNPACK_PROCESSES"),
        ({"UNPACK_PROCESSES": "0"}, "UNPACK_PROCESSES"),
        ({"OPUS_BIT_RATE": "1"}, "OPUS_BIT_RATE"),
        ({"OPUS_COMPLEXITY": "11"}, "OPUS_COMPLEXITY"),
        ({"CHANNELS": "stereo"}, "CHANNELS"),
        ({"SILENCE_DBFS": "quiet"}, "SILENCE_DBFS"),
        ({"WHISPER_DEVICE": "abacus"}, "WHISPER_DEVICE"),
        ({"WHISPER_BATCH_SIZE": "-1"}, "WHISPER_BATCH_SIZE"),
        ({"MODELS_ROOT": "models"}, "MODELS_ROOT"),
    ],
)
def test_an_error_names_the_variable(variables: dict[str, str], name: str) -> None:
    environment = Environment(
        {"DATABASE_URL": "postgresql:///d", "BROKER_URL": "sqs://", **variables}
    )
    with pytest.raises((SettingError, ConfigurationError), match=name) as caught:
        read_everything(environment)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "endpoint", "access_key", "secret_key"),
    [
        ("sqs://", None, None, None),
        ("sqs://k:s@127.0.0.1:4566", "http://127.0.0.1:4566", "k", "s"),
        ("sqs+tls://k:a%2Fb@sqs.example", "https://sqs.example", "k", "a/b"),
    ],
)
def test_a_broker_url_says_where_sqs_is(
    url: str, endpoint: str | None, access_key: str | None, secret_key: str | None
) -> None:
    address = read_broker_address(Environment({"BROKER_URL": url}))
    assert address.endpoint == endpoint
    assert address.access_key == access_key
    assert address.secret_key == secret_key
    assert address.prefix == "dropscribe"
