"""What `dropscribe health` makes of its findings: levels, exit codes, a table, a line, a file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from consumers.errors import ConfigurationError, TransientError
from ops.cli.commands.health import health
from ops.cli.render.health import overall, plugin_line, results_table
from ops.observe.health.check import Check, run_checks
from ops.observe.health.checks import CHECKS
from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult, Level, Remark, combined, judged, worst
from ops.observe.health.textfile import write_textfile
from ops.observe.health.volumes import judged_falling, measure
from ops.wiring.environment import Environment
from ops.wiring.settings import HealthSettings, Limits

NOW = datetime(2025, 6, 22, 14, 30, 52, tzinfo=UTC)


def site(**variables: str) -> CheckContext:
    environment = Environment(variables)
    return CheckContext(environment, HealthSettings.read(environment))


def says(level: Level, what: str = "it is") -> Check:
    return Check("it", "it", "nothing", lambda _: [Remark(level, what)])


def fails(exc: Exception, *, remedy: str | None = None) -> Check:
    def look(_: CheckContext) -> list[Remark]:
        raise exc

    return Check("it", "it", "nothing", look, remedy=remedy)


def check_named(name: str) -> Check:
    return next(check for check in CHECKS if check.name == name)


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        ("ok", 0),
        ("ok skipped", 0),
        ("ok warning", 1),
        ("warning critical ok", 2),
        ("unknown ok", 3),
        ("unknown warning", 1),
        ("unknown critical", 2),
        # Where nothing was looked at, nothing is known.
        ("skipped skipped", 3),
    ],
)
def test_the_exit_code_is_that_of_the_worst(levels: str, code: int) -> None:
    assert worst(Level(level) for level in levels.split()).code == code


def test_remarks_start_with_the_worst_and_name_each_command_once() -> None:
    finding = combined(
        "it",
        [
            Remark(Level.WARNING, "a", "do this", {"a": 1}),
            Remark(Level.OK, "all right", figures={"all": 2}),
            Remark(Level.CRITICAL, "b", "do that"),
            Remark(Level.WARNING, "c", "do this"),
        ],
    )
    assert (finding.level, finding.what) == (Level.CRITICAL, "b; a; c")
    assert finding.what_to_do == "do that; do this"
    assert finding.figures == {"a": 1, "all": 2}
    finding = combined("it", [Remark(Level.OK, "well"), Remark(Level.OK, "not looked at")])
    assert (finding.level, finding.what, finding.what_to_do) == (
        Level.OK,
        "well; not looked at",
        "",
    )


def test_skipped_checks_are_named_and_not_wrong() -> None:
    remarks = [Remark(Level.OK, "a rule"), Remark(Level.SKIPPED, "hidden", "ask the owner")]
    finding = combined("rules", remarks)
    assert (finding.level, finding.what) == (Level.SKIPPED, "hidden")
    assert combined("rules", [*remarks, Remark(Level.WARNING, "bad")]).level is Level.WARNING


def test_limits_count_from_where_they_are() -> None:
    rising, down = Limits(10, 20), Limits(0.2, 0.1)
    assert [judged(value, rising).value for value in (9, 10, 19.9, 20)] == [
        "ok",
        "warning",
        "warning",
        "critical",
    ]
    assert [judged_falling(value, down).value for value in (0.2, 0.19, 0.1, 0.09)] == [
        "ok",
        "warning",
        "warning",
        "critical",
    ]


def test_an_unreachable_server_is_a_finding() -> None:
    finding = fails(TransientError("the store is away"), remedy="start it").run(site())
    assert (finding.level, finding.what) == (Level.CRITICAL, "the store is away")
    assert finding.what_to_do == "start it"
    finding = fails(TransientError("the database is away")).run(site())
    assert finding.level is Level.UNKNOWN
    assert "dropscribe health --check it" in finding.what_to_do


def test_an_unforeseen_error_is_a_finding_without_its_text() -> None:
    finding = fails(ValueError("hush")).run(site())
    assert finding.level is Level.UNKNOWN
    assert "the check failed: ValueError in test_health.py, line" in finding.what
    assert "hush" not in str(finding)


def test_an_invalid_setting_is_a_finding() -> None:
    finding = check_named("broker").run(site(BROKER_URL="kafka://h"))
    assert finding.level is Level.CRITICAL
    assert "BROKER_URL does not begin with" in finding.what
    finding = check_named("scratch").run(site(SCRATCH_ROOT="relative"))
    assert (finding.level, finding.what) == (
        Level.CRITICAL,
        "SCRATCH_ROOT='relative' is invalid: must be an absolute path",
    )


def test_a_check_without_its_settings_is_skipped_and_says_which() -> None:
    findings = {check.name: check.run(site()) for check in CHECKS}
    assert {name for name, each in findings.items() if each.level is not Level.SKIPPED} == {"gpu"}
    assert findings["database"].what == "DATABASE_URL is not set on this host"
    # A secret can stand in a file, too.
    database = check_named("database")
    assert database.run(site(DATABASE_URL_FILE="/none")).level is Level.CRITICAL


def test_one_that_hangs_keeps_no_other_waiting() -> None:
    over = threading.Event()

    def hang(_: CheckContext) -> list[Remark]:
        over.wait(30)
        raise AssertionError

    hanging = Check("hanging", "", "", hang, remedy="start it")
    findings = run_checks([hanging, says(Level.OK)], site(HEALTH_TIMEOUT="1s"))
    over.set()
    assert [(each.level.value, each.what) for each in findings] == [
        ("critical", "no answer within 1 s"),
        ("ok", "it is"),
    ]


def test_checks_run_side_by_side() -> None:
    together = threading.Barrier(3, timeout=10)

    def meet(_: CheckContext) -> Iterator[Remark]:
        together.wait()
        yield Remark(Level.OK, "met")

    findings = run_checks([Check("it", "", "", meet) for _ in range(3)], site())
    assert [finding.what for finding in findings] == ["met"] * 3


FINDINGS = [
    CheckResult("store", Level.OK, "bucket a answers", figures={"seconds": 0.25}),
    CheckResult(
        "queues",
        Level.WARNING,
        "unpack: 2 dead letters | of [bold]many[/bold]\x1b[31m",
        "dropscribe dead list --route unpack",
        {
            "messages": {"unpack": 3, "review": 0},
            "consumers": {"unpack": 1},
            "dead": {"unpack": 2, "review": 0},
        },
    ),
    CheckResult("models", Level.SKIPPED, "MODELS_ROOT is not set on this host"),
]


def printed(findings: list[CheckResult]) -> str:
    stream = io.StringIO()
    Console(file=stream, width=100).print(results_table(findings))
    return stream.getvalue()


def test_the_table_shows_the_remedy_below_the_finding() -> None:
    lines = [line.rstrip() for line in printed(FINDINGS).splitlines()]
    assert lines[1].split()[:2] == ["store", "ok"]
    assert "unpack: 2 dead letters | of [bold]many[/bold]" in lines[2]
    assert lines[3].strip() == "-> dropscribe dead list --route unpack"
    assert lines[-1] == "overall: warning"
    # What others have named writes nothing to the terminal but itself.
    assert "\x1b" not in "".join(lines)


def test_a_line_for_monitoring_systems() -> None:
    assert plugin_line(FINDINGS[:1]) == "DROPSCRIBE OK - 1 checks | 'store_seconds'=0.25"
    state, _, figures = plugin_line(FINDINGS).partition(" | ")
    assert state.startswith("DROPSCRIBE WARNING - queues: unpack: 2 dead letters / of")
    assert "'queues_dead_unpack'=2" in figures.split()
    assert plugin_line(FINDINGS[2:]) == "DROPSCRIBE UNKNOWN - 0 checks"


def test_figures_are_decimal_and_keep_their_digits() -> None:
    figures = {"free": 123_456_789_012, "ended": 1759470123.456, "tiny": 0.000012, "whole": 2.0}
    line = plugin_line([CheckResult("it", Level.OK, "", figures=figures)])
    assert line.partition(" | ")[2].split() == [
        "'it_free'=123456789012",
        "'it_ended'=1759470123.456",
        "'it_tiny'=0.000012",
        "'it_whole'=2",
    ]


def test_no_batch_is_a_series_of_its_own() -> None:
    figures = {"stuck": 1, "stuck_batches": {"20250622-143052-abcdef": 7300}}
    line = plugin_line([CheckResult("batches", Level.CRITICAL, "stuck", figures=figures)])
    assert line.partition(" | ")[2] == "'batches_stuck'=1"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with one model, of which one file is empty, as its sums say."""
    model = tmp_path / "models" / "tiny"
    model.mkdir(parents=True)
    (model / "__init__.py").touch()
    (model / "SHA256SUMS").write_text(f"{hashlib.sha256(b'').hexdigest()}  __init__.py\n")
    return model.parent


def test_a_file_of_a_model_may_be_empty_if_its_sum_says_so(models: Path) -> None:
    here = site(MODELS_ROOT=str(models))
    assert check_named("models").run(here).level is Level.OK
    assert check_named("models").run(replace(here, is_full=True)).level is Level.OK


def test_a_missing_folder_of_models(models: Path) -> None:
    finding = check_named("models").run(site(MODELS_ROOT=str(models / "gone")))
    assert (finding.level, finding.what) == (
        Level.CRITICAL,
        f"MODELS_ROOT={models}/gone does not exist",
    )
    assert "ansible-playbook -i inventories/cluster sync-models.yml" in finding.what_to_do
    finding = check_named("models").run(site(MODELS_ROOT=str(models / "tiny" / "__init__.py")))
    assert "is not a folder" in finding.what


@pytest.mark.parametrize("name", ["aligner", "align/en"])
def test_a_dangling_link_to_a_model(models: Path, name: str) -> None:
    link = models / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(models / ".versions" / "aligner-000000000000")
    (models / "lost+found").symlink_to("nowhere")
    finding = check_named("models").run(site(MODELS_ROOT=str(models)))
    assert (finding.level, finding.what) == (
        Level.CRITICAL,
        f"{link} is a broken link",
    )


def test_a_folder_of_models_that_is_closed(models: Path) -> None:
    # Nothing is closed to root, unless that right is taken from it.
    weaker = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    looking = [sys.executable, "-m", "ops", "health", "--check", "models", "--json"]
    (models / "tiny").chmod(0)
    done = subprocess.run(
        [*weaker, *looking] if os.geteuid() == 0 else looking,
        env={**os.environ, "MODELS_ROOT": str(models)},
        capture_output=True,
        check=False,
    )
    (models / "tiny").chmod(0o700)
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["level"] == "critical"
    assert "is unreadable for this user" in finding["what"]


def samples(path: Path) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_a_file_for_prometheus(tmp_path: Path) -> None:
    path = tmp_path / "dropscribe.prom"
    volume = CheckResult("models-volume", Level.OK, "", figures={"free_ratio": 0.5})
    before = os.umask(0o077)
    try:
        write_textfile(path, [*FINDINGS, volume], NOW, "host")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert samples(path) == {
        ("dropscribe_health", "store", "host"): 0,
        ("dropscribe_health", "queues", "host"): 1,
        ("dropscribe_health", "models-volume", "host"): 0,
        ("dropscribe_health_timestamp_seconds", "host"): NOW.timestamp(),
        ("dropscribe_queue_messages", "unpack"): 3,
        ("dropscribe_queue_messages", "review"): 0,
        ("dropscribe_queue_consumers", "unpack"): 1,
        ("dropscribe_dead_letter_messages", "unpack"): 2,
        ("dropscribe_dead_letter_messages", "review"): 0,
        ("dropscribe_volume_free_ratio", "models"): 0.5,
    }
    # A second run replaces it, and leaves nothing else behind.
    write_textfile(path, FINDINGS[:1], NOW, "host")
    assert ("dropscribe_health", "queues", "host") not in samples(path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_an_unwritable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: No such file"):
        write_textfile(tmp_path / "none" / "dropscribe.prom", FINDINGS, NOW, "host")


@given(st.dictionaries(st.text(), st.floats(allow_nan=False)), st.text())
def test_no_name_and_no_word_breaks_the_formats(figures: dict[str, float], what: str) -> None:
    finding = CheckResult("queues", Level.WARNING, what, what, {"messages": figures})
    assert "\n" not in plugin_line([finding]).partition(" | ")[0]
    assert plugin_line([finding]).startswith("DROPSCRIBE WARNING - ")
    assert printed([finding])


def test_free_space_matches_df(tmp_path: Path) -> None:
    space = measure(tmp_path)
    found = os.statvfs(tmp_path)
    assert 0 < space.ratio <= 1
    assert space.free == pytest.approx(found.f_bavail * found.f_frsize, rel=0.1)


def test_limits_can_be_set() -> None:
    settings = HealthSettings.read(Environment({}))
    assert settings.timeout == timedelta(seconds=10)
    assert settings.stuck_after == timedelta(hours=2)
    assert settings.behind == Limits(6 * 3600, 24 * 3600)
    settings = HealthSettings.read(
        Environment(
            {
                "HEALTH_STUCK_AFTER": "90min",
                "HEALTH_BEHIND": "30s, 2d",
                "HEALTH_FREE": "0.5,0.25",
                "HEALTH_VOLUME": "/srv/dropscribe",
                "HEALTH_RABBITMQCTL": "sudo -n rabbitmqctl --node 'a b'",
            }
        )
    )
    assert settings.stuck_after == timedelta(minutes=90)
    assert settings.behind == Limits(30, 172_800)
    assert settings.free == Limits(0.5, 0.25)
    assert settings.volume == Path("/srv/dropscribe")
    assert settings.rabbitmqctl == ("sudo", "-n", "rabbitmqctl", "--node", "a b")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HEALTH_STUCK_AFTER", "two hours"),
        ("HEALTH_STUCK_AFTER", "0s"),
        ("HEALTH_BEHIND", "6h"),
        ("HEALTH_BEHIND", "6h,1h"),
        ("HEALTH_FREE", "0.1,0.2"),
        ("HEALTH_FREE", "nan,nan"),
        ("HEALTH_CONNECTIONS", "0.9,0.8"),
        ("HEALTH_CONNECTIONS", "much"),
        ("HEALTH_VOLUME", "srv"),
        ("HEALTH_RABBITMQCTL", "sudo 'rabbitmqctl"),
    ],
)
def test_invalid_limits_are_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        HealthSettings.read(Environment({name: value}))


def test_the_checks_can_be_listed() -> None:
    result = CliRunner().invoke(health, ["--list"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    first = [line.split()[0] for line in result.stdout.splitlines()[1:] if line[:1].strip()]
    assert first == [check.name for check in CHECKS]


def test_two_ways_to_print_contradict_each_other() -> None:
    result = CliRunner().invoke(health, ["--json", "--plugin"])
    assert result.exit_code == 3
    assert "choose one" in result.output


@pytest.mark.parametrize(
    ("arguments", "variables", "what"),
    [
        (["--no-such-option"], {}, "No such option"),
        (["--check", "weather"], {}, "'weather'"),
        (["--json"], {}, "choose one"),
        ([], {"HEALTH_TIMEOUT": "soon | later"}, "HEALTH_TIMEOUT='soon / later'"),
    ],
)
def test_a_plugin_that_fails_to_start_is_unknown(
    arguments: list[str], variables: dict[str, str], what: str
) -> None:
    result = CliRunner().invoke(health, ["--plugin", *arguments], env=variables)
    assert result.exit_code == 3
    (line,) = result.stdout.splitlines()
    assert line.startswith("DROPSCRIBE UNKNOWN - ")
    assert what in line


def test_a_finished_check_is_never_unknown() -> None:
    result = CliRunner().invoke(health, ["--check", "database", "--plugin"])
    assert (result.exit_code, result.stdout) == (3, "DROPSCRIBE UNKNOWN - 0 checks\n")
    assert overall([]).value == "unknown"
