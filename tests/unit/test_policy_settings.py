"""Moderation and review are set by variables; nothing is judged where there are no policies."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from ops.wiring.environment import Environment, SettingError
from ops.wiring.settings import ModerationSettings, ReviewSettings

ENDPOINT = {"POLICY_ENDPOINT": "https://gpu1:8000/v1", "POLICY_ENDPOINT_MODEL": "cope"}


def read(**variables: str) -> ModerationSettings:
    return ModerationSettings.read(Environment(variables))


def test_without_policies_nothing_is_judged() -> None:
    assert not read().is_moderated
    assert read().policies_root is None
    assert read(POLICIES_ROOT="/etc/policies").is_moderated


def test_the_model_is_cope_unless_another_is_named() -> None:
    settings = read()
    assert (settings.model, settings.adapter) == ("gemma-2-9b", "cope-a-9b")
    assert (settings.device, settings.quantisation) == ("auto", "none")
    assert (settings.batch_size, settings.context, settings.group) == (8, 8192, 16)
    assert settings.endpoint is None
    assert settings.languages == ("en",)
    assert settings.window_seconds == 60


def test_a_merged_model_has_no_adapter() -> None:
    settings = read(POLICY_MODEL="/models/merged", POLICY_ADAPTER="none", MODELS_ROOT="/models")
    assert settings.adapter is None
    assert settings.models_root / settings.model == Path("/models/merged")


def test_languages_are_a_list() -> None:
    assert read(POLICY_LANGUAGES="en, de,en").languages == ("en", "de")


@pytest.mark.parametrize(
    "url",
    ["https://gpu1:8000/v1", "https://gpu1/v1/", "http://127.0.0.1:8000/v1", "http://[::1]:8000"],
)
def test_an_endpoint_is_a_url(url: str) -> None:
    settings = read(**{**ENDPOINT, "POLICY_ENDPOINT": url})
    assert settings.endpoint == url.rstrip("/")
    assert settings.endpoint_model == "cope"
    assert settings.endpoint_timeout == 60


def test_the_endpoint_s_key_can_stand_in_a_file_and_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("hush\n")
    settings = read(**ENDPOINT, POLICY_ENDPOINT_KEY_FILE=str(file))
    assert settings.endpoint_key == "hush"
    assert "hush" not in repr(settings)


@pytest.mark.parametrize("url", ["http://gpu1:8000/v1", "http://10.0.0.7/v1"])
def test_content_is_sent_to_other_hosts_only_encrypted(url: str) -> None:
    variables = {**ENDPOINT, "POLICY_ENDPOINT": url}
    with pytest.raises(SettingError, match=r"POLICY_ENDPOINT leads to .* unencrypted"):
        read(**variables)
    assert read(**variables, ALLOW_CLEARTEXT="1").endpoint == url


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"POLICIES_ROOT": "policies"}, "POLICIES_ROOT"),
        ({"POLICY_DEVICE": "abacus"}, "POLICY_DEVICE"),
        ({"POLICY_QUANTISATION": "2bit"}, "POLICY_QUANTISATION"),
        ({"POLICY_BATCH_SIZE": "0"}, "POLICY_BATCH_SIZE"),
        ({"POLICY_CONTEXT": "12"}, "POLICY_CONTEXT"),
        ({"POLICY_LANGUAGES": "English"}, "POLICY_LANGUAGES"),
        ({"POLICY_LANGUAGES": "en,"}, "POLICY_LANGUAGES"),
        ({"POLICY_WINDOW_SECONDS": "0"}, "POLICY_WINDOW_SECONDS"),
        ({"MODERATE_GROUP": "all"}, "MODERATE_GROUP"),
        ({"POLICY_ENDPOINT": "https://gpu1:8000/v1"}, "POLICY_ENDPOINT_MODEL"),
        ({**ENDPOINT, "POLICY_ENDPOINT": "gpu1:8000"}, "POLICY_ENDPOINT"),
        ({**ENDPOINT, "POLICY_ENDPOINT": "https://key:hush@gpu1/v1"}, "POLICY_ENDPOINT_KEY"),
        ({**ENDPOINT, "POLICY_ENDPOINT": "https://gpu1/v1?key=hush"}, "POLICY_ENDPOINT_KEY"),
        ({**ENDPOINT, "POLICY_ENDPOINT_TIMEOUT": "0"}, "POLICY_ENDPOINT_TIMEOUT"),
        ({**ENDPOINT, "POLICY_ENDPOINT_CA_FILE": "/none"}, "POLICY_ENDPOINT_CA_FILE"),
        ({"REVIEW_SAMPLE": "1.1"}, "REVIEW_SAMPLE"),
        ({"REVIEW_SAMPLE": "-0.1"}, "REVIEW_SAMPLE"),
        ({"REVIEW_SAMPLE": "2%"}, "REVIEW_SAMPLE"),
        ({"REVIEW_MARGIN_SECONDS": "61"}, "REVIEW_MARGIN_SECONDS"),
    ],
)
def test_an_error_names_the_variable(variables: dict[str, str], name: str) -> None:
    environment = Environment(variables)
    with pytest.raises(SettingError, match=rf"\b{name}\b") as caught:
        assert not (ModerationSettings.read(environment), ReviewSettings.read(environment))
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_fiftieth_of_unflagged_recordings_is_reviewed(tmp_path: Path) -> None:
    settings = ReviewSettings.read(Environment({"SCRATCH_ROOT": str(tmp_path)}))
    assert (settings.sample, settings.margin_seconds) == (0.02, 3)
    assert settings.scratch_root == tmp_path
