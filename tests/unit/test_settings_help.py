"""Each setting is declared once: what reads it, what explains it and what passes it on agree."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ops.cli.main import main
from ops.cli.settings import SettingsCommand, read_environment
from ops.cli.settings_page import commands, settings_page
from ops.embedded.stack import STACK_SETTINGS, variables_for_consumers
from ops.wiring.environment import Environment, SettingError, UndeclaredSettingError
from ops.wiring.settings import (
    GROUPS,
    BrokerSettings,
    DatabaseSettings,
    HealthSettings,
    Settings,
    StoreSettings,
    variables_of,
)

PAGE = Path(__file__).parents[2] / "docs/settings.md"

#: Without these, a group that requires them reads nothing else.
REQUIRED = {"DATABASE_URL": "postgresql:///d", "BROKER_URL": "sqs://"}


class Recorded(dict[str, str]):
    """Variables that note which of them are read."""

    def __init__(self, *args: object, **kwargs: str) -> None:
        super().__init__(*args, **kwargs)
        self.read: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.read.add(name)
        return super().get(name, default)


def test_the_page_of_settings_is_up_to_date() -> None:
    hint = "run `python -m ops.cli.settings_page > docs/settings.md`"
    assert PAGE.read_text(encoding="utf-8") == settings_page(), hint


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_reads_exactly_the_variables_that_it_declares(group: type[Settings]) -> None:
    variables = Recorded(REQUIRED)
    group.read(Environment(variables))
    files = {f"{each.name}_FILE" for each in group.variables() if each.is_secret}
    assert variables.read == {each.name for each in group.variables()} | files


def subcommands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from subcommands(command, (*path, name))
        else:
            yield (*path, name)


def test_every_command_but_one_that_copies_files_declares_settings() -> None:
    declaring = {tuple(name.split()) for name, _ in commands()}
    assert set(subcommands(main)) - declaring == {("policy", "examples")}


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_the_help_of_a_command_lists_exactly_its_settings(
    name: str, command: SettingsCommand
) -> None:
    result = CliRunner().invoke(main, [*name.split(), "--help"], env={"COLUMNS": "100"})
    assert result.exit_code == 0
    settings = result.output[result.output.index("Settings, ") :]
    listed = set(re.findall(r"^  ([A-Z][A-Z0-9_]+)  ", settings, re.MULTILINE))
    for names in re.findall(
        r"^  also \w[\w ]*?  +((?:[A-Z_]+(?:,\s+|$))+)", settings, re.MULTILINE
    ):
        listed |= set(re.findall(r"[A-Z_]+", names))
    assert listed == {variable.name for variable in command.variables}


def test_a_command_can_read_no_setting_that_it_does_not_declare() -> None:
    @click.command(cls=SettingsCommand, settings=(HealthSettings,))
    def careless() -> None:
        HealthSettings.read(read_environment())
        StoreSettings.read(read_environment())

    with pytest.raises(UndeclaredSettingError, match="S3_ENDPOINT"):
        CliRunner().invoke(careless, catch_exceptions=False)


def test_the_embedded_stack_passes_on_the_settings_of_its_stages_and_no_others() -> None:
    declared = {variable.name for variable in variables_of(STACK_SETTINGS)}
    everything = {variable.name: "x" for variable in variables_of()}
    caller = {**everything, "POLICY_ENDPOINT_KEY_FILE": "/key", "HOME": "/home", "OTHER": "x"}
    assert set(variables_for_consumers(caller)) == declared | {"POLICY_ENDPOINT_KEY_FILE", "HOME"}


def test_values_can_be_handed_to_another_process_by_their_variables() -> None:
    variables = {
        **BrokerSettings.to_environment(url="sqs://", prefix="ours"),
        **DatabaseSettings.to_environment(url="postgresql:///d"),
    }
    assert BrokerSettings.read(Environment(variables)).prefix == "ours"
    assert DatabaseSettings.read(Environment(variables)).url == "postgresql:///d"


def test_an_error_names_every_invalid_variable_and_its_valid_form() -> None:
    variables = {"HEALTH_TIMEOUT": "soon", "HEALTH_FREE": "0.1,0.2", "HEALTH_VOLUME": ""}
    with pytest.raises(SettingError) as caught:
        HealthSettings.read(Environment(variables))
    assert str(caught.value) == (
        "HEALTH_TIMEOUT='soon' is invalid: must be a length of time like 90s, 15min, 6h or 7d; "
        "HEALTH_FREE='0.1,0.2' is invalid: must be two numbers like 0.2,0.1: for a warning, and "
        "for critical"
    )


def test_settings_are_read_from_the_given_variables_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("S3_BUCKET=from-a-file\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S3_BUCKET", "from-the-process")
    assert StoreSettings.read(Environment({})).bucket == "audio-pipeline"


def test_drop_waits_for_the_store_no_longer_than_s3_timeout(tmp_path: Path) -> None:
    archive = tmp_path / "calls.tar"
    archive.write_bytes(bytes(1024))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {
            "S3_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "S3_ACCESS_KEY": "key",
            "S3_SECRET_KEY": "secret",
            "S3_TIMEOUT": "1",
        }
        began = time.monotonic()
        result = CliRunner().invoke(main, ["drop", str(archive)], env=variables)
    assert result.exit_code == 1
    assert "Read timeout" in result.output
    assert time.monotonic() - began < 45
