"""Whatever breaks, `dropscribe health` says what it is and which command helps."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

from consumers.database.migrate import migrations
from events.keys import AudioId, BatchId
from events.routes import ROUTES, dead_letter_queue_name, queue_name
from ops.bootstrap import bootstrap
from ops.cli.commands.health import health
from ops.observe.health.checks import CHECKS
from ops.observe.health.context import ProgressBar, open_context
from ops.observe.health.models import SUMS
from ops.wiring.environment import Environment
from ops.wiring.log import quiet_log
from ops.wiring.recovery import open_sweeper
from ops.wiring.settings import StoreSettings
from tests.harness.servers.store import boto_client
from tests.integration.conftest import Pipeline
from tests.integration.damage import AT_ONCE, dropped, execute, finished, rows, swept, unpacked
from tests.integration.test_roles import READ, member

Look = Callable[..., Result]

#: The servers', in a deployment that is set up and has nothing to do.
SERVERS = ("store", "rules", "clock", "broker", "queues", "consumer-timeout", "database")
WORK = ("batches", "stages", "sweep")


@pytest.fixture
def look(variables: dict[str, str]) -> Look:
    """Run ``dropscribe health`` with this test's settings."""

    def look(*checks: str, options: tuple[str, ...] = ("--json",), **others: str) -> Result:
        arguments = [part for check in checks for part in ("--check", check)]
        env = {"HEALTH_TIMEOUT": "20s", **variables, **others}
        return CliRunner().invoke(health, [*arguments, *options], env=env)

    return look


def found(result: Result) -> dict[str, Any]:
    """Read the only finding that was printed; its level and the exit code agree."""
    document = json.loads(result.stdout)
    (finding,) = document["findings"]
    codes = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3, "skipped": 3}
    assert result.exit_code == codes[finding["level"]]
    if finding["level"] not in {"ok", "skipped"}:
        check_what_to_do(finding["what_to_do"])
    answer: dict[str, Any] = finding
    return answer


def check_what_to_do(text: str) -> None:
    """See that a command stands there, and that each of dropscribe's exists."""
    from ops.cli.main import COMMANDS  # noqa: PLC0415

    ours = re.findall(r"(?<![\w-])dropscribe ([a-z]+)\b", text)
    assert set(ours) <= {*COMMANDS, "health"}, text
    others = (
        "systemctl",
        "psql",
        "timedatectl",
        "df ",
        "findmnt",
        "dmesg",
        "nvidia-smi",
        "ansible-playbook",
    )
    assert ours or any(command in text for command in others), text


def test_a_healthy_deployment_is_ok(look: Look, pipeline: Pipeline, tmp_path: Path) -> None:
    finished(pipeline, tmp_path)
    swept(pipeline)
    # The batch was made without events.
    list(bootstrap(pipeline.environment))
    result = look(*SERVERS, *WORK)
    document = json.loads(result.stdout)
    levels = {finding["check"]: finding["level"] for finding in document["findings"]}
    assert levels == dict.fromkeys((*SERVERS, *WORK), "ok"), document
    assert (document["level"], document["exit_code"], result.exit_code) == ("ok", 0, 0)
    assert not any(finding["what_to_do"] for finding in document["findings"])


def test_a_user_who_may_only_read_sees_all_of_it(
    look: Look, pipeline: Pipeline, variables: dict[str, str], tmp_path: Path
) -> None:
    finished(pipeline, tmp_path)
    swept(pipeline)
    with member(variables["DATABASE_URL"], READ) as login:
        result = look("database", *WORK, "queues", DATABASE_URL=login)
    assert result.exit_code == 0, result.output


def test_health_changes_nothing(look: Look, pipeline: Pipeline, tmp_path: Path) -> None:
    unpacked(pipeline, tmp_path)
    swept(pipeline)
    client, bucket = pipeline.store._client, pipeline.store.bucket

    def all_there_is() -> list[object]:
        return [
            rows(pipeline.database),
            count_sweeps(pipeline),
            list(pipeline.store.keys("")),
            client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"],
            found(look("queues"))["figures"]["messages"],
        ]

    before = all_there_is()
    look(*SERVERS, *WORK)
    assert all_there_is() == before


@pytest.mark.usefixtures("environment")
def test_a_missing_bucket(look: Look, pipeline: Pipeline) -> None:
    pipeline.store._client.delete_bucket(Bucket=pipeline.store.bucket)
    finding = found(look("store"))
    assert finding["level"] == "critical"
    assert finding["what"] == f"there is no bucket {pipeline.store.bucket}"
    assert finding["what_to_do"] == "dropscribe bootstrap"
    assert found(look("clock"))["level"] == "ok"
    assert found(look("rules"))["level"] in {"critical", "unknown"}


@pytest.mark.usefixtures("environment")
def test_an_unreachable_store(look: Look) -> None:
    away = {"S3_ENDPOINT": "http://127.0.0.1:9"}
    finding = found(look("store", **away))
    assert finding["level"] == "critical"
    assert "is unreachable" in finding["what"]
    # Only one of them says that it is the store.
    assert found(look("rules", **away))["level"] == "unknown"
    assert found(look("clock", **away))["level"] == "unknown"
    finding = found(look("stages", **away))
    assert finding["level"] == "unknown"
    assert "archives that no consumer has taken are not checked: archives/" in finding["what"]


@pytest.mark.usefixtures("environment")
def test_rules_that_were_removed(look: Look, pipeline: Pipeline) -> None:
    client, bucket = pipeline.store._client, pipeline.store.bucket
    assert found(look("rules"))["level"] == "ok"
    client.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    finding = found(look("rules"))
    assert finding["level"] == "critical"
    assert "notification rules" in finding["what"]
    assert "lifecycle" not in finding["what"]
    client.delete_bucket_lifecycle(Bucket=bucket)
    assert "lifecycle rule" in found(look("rules"))["what"]
    assert found(look("rules", RETENTION_DAYS="off"))["what"].count("lifecycle") == 1


@pytest.mark.usefixtures("environment")
def test_health_reads_from_the_database_whether_moderation_is_on(
    look: Look, variables: dict[str, str]
) -> None:
    with psycopg.connect(variables["DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO stages VALUES ('moderate')")
    assert "moderate" in found(look("queues"))["what"]
    assert found(look("rules"))["level"] == "critical"
    assert f"{variables['BROKER_PREFIX']}-moderate" in found(look("broker"))["what"]


class Queues:
    """The queues on the embedded SQS, as somebody else gets at them."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.prefix = variables["BROKER_PREFIX"]
        self.client = boto_client("sqs", StoreSettings.read(Environment(variables)))

    def url(self, name: str) -> str:
        url: str = self.client.get_queue_url(QueueName=name)["QueueUrl"]
        return url


@pytest.fixture
def queues(variables: dict[str, str], environment: Environment) -> Queues:
    del environment
    return Queues(variables)


def test_a_queue_that_is_missing(look: Look, queues: Queues) -> None:
    name = queue_name(queues.prefix, ROUTES[1])
    queues.client.delete_queue(QueueUrl=queues.url(name))
    finding = found(look("broker"))
    assert finding["level"] == "critical"
    assert finding["what"] == f"missing: queue {name}"
    assert "dropscribe bootstrap" in finding["what_to_do"]
    assert finding["figures"]["missing"] == 1
    assert found(look("queues"))["what"] == "transcribe: its queues are missing"


def test_waiting_messages_and_dead_letters_are_counted(look: Look, queues: Queues) -> None:
    # What the store said when it was told of the queues.
    assert set(found(look("queues"))["figures"]["messages"].values()) == {1}
    for route, number in ((ROUTES[0], 3), (ROUTES[3], 1)):
        for _ in range(number):
            url = queues.url(queue_name(queues.prefix, route))
            queues.client.send_message(QueueUrl=url, MessageBody="{}")
    assert found(look("queues"))["figures"]["messages"] == {
        "unpack": 4,
        "transcribe": 1,
        "review": 2,
    }
    url = queues.url(dead_letter_queue_name(queues.prefix, ROUTES[0]))
    queues.client.send_message(QueueUrl=url, MessageBody="{}")
    finding = found(look("queues"))
    assert finding["level"] == "warning"
    assert finding["what"] == "unpack: 1 dead letters"
    assert finding["what_to_do"].startswith("dropscribe dead list --route unpack")
    assert finding["figures"]["dead"] == {"unpack": 1, "transcribe": 0, "review": 0}


@pytest.mark.usefixtures("environment")
def test_an_unreachable_broker(look: Look) -> None:
    away = {"BROKER_URL": "amqp://guest:hush@127.0.0.1:9/"}
    finding = found(look("broker", **away))
    assert finding["level"] == "critical"
    assert "is unreachable" in finding["what"]
    assert "hush" not in str(finding)
    assert found(look("queues", **away))["level"] == "unknown"


@pytest.mark.usefixtures("environment")
def test_an_unreachable_database(look: Look) -> None:
    away = {"DATABASE_URL": "postgresql://someone:hush@127.0.0.1:9/dropscribe"}
    finding = found(look("database", **away))
    assert finding["level"] == "critical"
    assert "is unreachable" in finding["what"]
    assert "hush" not in str(finding)
    for check in WORK:
        assert found(look(check, **away))["level"] == "unknown"
    # What can be seen without it is seen.
    assert found(look("queues", **away))["level"] == "ok"


def test_a_migration_that_is_missing(look: Look, variables: dict[str, str]) -> None:
    last = migrations()[-1]
    with psycopg.connect(variables["DATABASE_URL"]) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = %s", [last.version])
        connection.execute("DROP TABLE sweeps")
    finding = found(look("database"))
    assert finding["level"] == "critical"
    assert f"migrations {last.version:04} {last.name} are missing" in finding["what"]
    assert finding["what_to_do"] == "dropscribe bootstrap"
    assert found(look("sweep"))["level"] == "unknown"


def test_completion_without_its_index(look: Look, variables: dict[str, str]) -> None:
    finding = found(look("database"))
    assert finding["level"] == "ok"
    assert 0 < finding["figures"]["connections"] < finding["figures"]["max_connections"]
    with psycopg.connect(variables["DATABASE_URL"]) as connection:
        connection.execute("DROP INDEX recordings_unfinished")
    finding = found(look("database"))
    assert finding["level"] == "critical"
    assert "recordings_unfinished is missing" in finding["what"]
    (statement,) = re.findall(r"'(CREATE INDEX .*?)'", finding["what_to_do"])
    with psycopg.connect(variables["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(statement.encode())
    assert found(look("database"))["level"] == "ok"


def test_completion_goes_by_its_index_where_there_are_many_rows(
    look: Look, variables: dict[str, str]
) -> None:
    with psycopg.connect(variables["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO batches (batch_id, sealed_at, dropped_at)"
            " VALUES ('20250622-143052-a1b2c3', now(), now())"
        )
        connection.execute(
            "INSERT INTO recordings (batch_id, ordinal, state, path, finished_at)"
            " SELECT '20250622-143052-a1b2c3', n, 'transcribed', '', now()"
            " FROM generate_series(1, 20000) AS n"
        )
        connection.execute("ANALYZE recordings, batches")
    figures = found(look("database"))["figures"]
    assert figures["by_index"] is True
    finding = found(look("database", HEALTH_COMPLETION_SECONDS="0,60"))
    assert finding["level"] == "warning"
    assert "by its index" in finding["what"]


def test_connections_that_run_out(look: Look) -> None:
    finding = found(look("database", HEALTH_CONNECTIONS="0.001,0.9"))
    assert finding["level"] == "warning"
    assert "connections are in use" in finding["what"]


def aged(pipeline: Pipeline, batch: BatchId, hours: int) -> None:
    """Have everything about a batch be written so much earlier."""
    span = f"interval '{hours} hours'"
    execute(
        pipeline.database,
        f"UPDATE batches SET dropped_at = dropped_at - {span}, sealed_at = sealed_at - {span},"  # noqa: S608
        f" announced_at = announced_at - {span} WHERE batch_id = '{batch}'",
    )
    execute(
        pipeline.database,
        f"UPDATE recordings SET created_at = created_at - {span},"  # noqa: S608
        f" finished_at = finished_at - {span} WHERE batch_id = '{batch}'",
    )


def test_a_batch_that_is_stuck(look: Look, pipeline: Pipeline, tmp_path: Path) -> None:
    batch = unpacked(pipeline, tmp_path)
    assert found(look("batches"))["level"] == "ok"
    aged(pipeline, batch, 3)
    finding = found(look("batches"))
    assert finding["level"] == "critical"
    assert finding["what"] == f"1 stuck: {batch} (transcribe, 3 h)"
    assert finding["what_to_do"].startswith(f"dropscribe status {batch}")
    assert finding["figures"]["stuck"] == 1
    assert found(look("batches", HEALTH_STUCK_AFTER="4h"))["level"] == "ok"


def test_a_batch_that_waits_its_turn_is_not_stuck(
    look: Look, pipeline: Pipeline, tmp_path: Path
) -> None:
    earlier, later = unpacked(pipeline, tmp_path), unpacked(pipeline, tmp_path)
    aged(pipeline, earlier, 5)
    aged(pipeline, later, 3)
    assert found(look("batches"))["figures"]["stuck"] == 2
    # The earlier one goes on.
    execute(
        pipeline.database,
        f"UPDATE recordings SET finished_at = now() WHERE batch_id = '{earlier}' AND ordinal = 0",  # noqa: S608
    )
    assert found(look("batches"))["figures"]["stuck"] == 0


def test_a_batch_whose_review_items_nobody_makes_is_stuck(
    look: Look, pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = finished(pipeline, tmp_path)
    aged(pipeline, batch, 3)
    assert found(look("batches"))["level"] == "ok"
    execute(pipeline.database, "UPDATE batches SET itemised_at = NULL")
    execute(pipeline.database, "UPDATE batches SET completed_at = announced_at")
    assert f"{batch} (review, " in found(look("batches"))["what"]


def test_a_batch_that_is_stalled(look: Look, pipeline: Pipeline, tmp_path: Path) -> None:
    batch = unpacked(pipeline, tmp_path)
    aged(pipeline, batch, 3)
    for ordinal in range(3):
        pipeline.database.stall_recording(AudioId(batch, ordinal), "the model is not there")
    finding = found(look("batches"))
    assert finding["level"] == "warning"
    assert finding["what"] == f"1 stalled: {batch} (transcribe, 3 h)"
    assert f"dropscribe dead list --batch {batch}" in finding["what_to_do"]


def test_the_most_idle_batches_are_named(look: Look, variables: dict[str, str]) -> None:
    with psycopg.connect(variables["DATABASE_URL"]) as connection:
        connection.execute(
            "INSERT INTO batches (batch_id, dropped_at)"
            " SELECT '20250622-1430' || n || '-a1b2c3', now() - n * interval '1 hour'"
            " FROM generate_series(10, 30) AS n"
        )
    finding = found(look("batches"))
    assert finding["what"].startswith("21 stuck: 20250622-143030-a1b2c3 (unpack, 1 d), ")
    assert finding["what"].endswith(", ...")
    assert len(finding["figures"]["stuck_batches"]) == 10


def test_a_stage_that_is_behind(look: Look, pipeline: Pipeline, tmp_path: Path) -> None:
    batch = unpacked(pipeline, tmp_path)
    finding = found(look("stages"))
    assert finding["level"] == "ok"
    assert finding["figures"]["waiting"] == {"unpack": 0, "transcribe": 3, "review": 0}
    aged(pipeline, batch, 7)
    finding = found(look("stages"))
    assert finding["level"] == "warning"
    assert finding["what"] == "transcribe is behind: 3 wait, the oldest for 7 h"
    assert finding["figures"]["oldest_seconds"]["transcribe"] == pytest.approx(7 * 3600, abs=60)
    aged(pipeline, batch, 20)
    assert found(look("stages"))["level"] == "critical"


def test_an_archive_that_nobody_has_taken_waits_too(
    look: Look, pipeline: Pipeline, tmp_path: Path
) -> None:
    finished(pipeline, tmp_path)
    batch = dropped(pipeline, tmp_path)
    assert pipeline.database.batch(batch) is None
    assert found(look("stages"))["figures"]["waiting"]["unpack"] == 1
    assert found(look("stages", HEALTH_BEHIND="0s,9h"))["level"] == "warning"


def test_a_partial_listing_of_archives_is_unknown(
    look: Look, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped(pipeline, tmp_path)
    monkeypatch.setattr("ops.observe.health.batches._PAGES", 0)
    finding = found(look("stages"))
    assert finding["level"] == "unknown"
    assert "archives were checked" in finding["what"]
    monkeypatch.undo()
    assert found(look("stages"))["figures"]["waiting"]["unpack"] == 1


def test_the_last_sweep(look: Look, pipeline: Pipeline, tmp_path: Path) -> None:
    finding = found(look("sweep"))
    assert (finding["level"], finding["what"]) == ("warning", "none is recorded")
    swept(pipeline, is_dry=True)
    assert found(look("sweep"))["what"] == "none is recorded"
    dropped(pipeline, tmp_path)
    swept(pipeline)
    finding = found(look("sweep"))
    assert finding["level"] == "ok"
    assert finding["figures"]["repaired"]["archive-untold"] == 1
    assert finding["figures"]["repaired"]["recording-untold"] == 0
    execute(
        pipeline.database,
        "UPDATE sweeps SET started_at = started_at - interval '2 hours',"
        " ended_at = ended_at - interval '2 hours'",
    )
    finding = found(look("sweep"))
    assert (finding["level"], finding["what"]) == ("warning", "the last one ended 2 h ago")
    assert "dropscribe sweep" in finding["what_to_do"]
    assert found(look("sweep", HEALTH_SWEEP="1h,90min"))["level"] == "critical"
    swept(pipeline)
    assert found(look("sweep"))["figures"]["repaired"]["archive-untold"] == 0


def test_a_loss_that_no_sweep_can_repair_is_reported(
    look: Look, pipeline: Pipeline, tmp_path: Path
) -> None:
    batch = unpacked(pipeline, tmp_path)
    pipeline.store.delete(AudioId(batch, 1).opus_key)
    execute(pipeline.database, "UPDATE recordings SET created_at = created_at - interval '1 hour'")
    swept(pipeline)
    finding = found(look("sweep"))
    assert finding["level"] == "warning"
    assert finding["what"] == "it found losses that it cannot restore: opus-gone 1"


def test_a_sweep_that_is_asked_to_end_is_not_on_record(pipeline: Pipeline) -> None:
    with open_sweeper(pipeline.environment, quiet_log(), AT_ONCE) as sweeper:
        report = sweeper.sweep(is_over=lambda: True)
    assert report is not None
    assert report.ended_early
    assert count_sweeps(pipeline) == 0


def count_sweeps(pipeline: Pipeline) -> int:
    with pipeline.database._transaction() as connection:
        row = connection.execute("SELECT count(*) AS number FROM sweeps").fetchone()
    assert row is not None
    return int(str(row["number"]))


def test_sweeps_of_long_ago_are_forgotten(pipeline: Pipeline) -> None:
    execute(
        pipeline.database,
        "INSERT INTO sweeps SELECT now() - n * interval '1 hour', now(), '{}', '{}'"
        " FROM generate_series(1, 700) AS n",
    )
    swept(pipeline)
    assert count_sweeps(pipeline) == 500


@contextmanager
def volume(folder: Path, size: str = "4m") -> Iterator[Path]:
    """Mount a small filesystem, for as long as the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_volume_that_fills(look: Look, tmp_path: Path) -> None:
    with volume(tmp_path / "volume") as root:
        assert found(look("scratch", SCRATCH_ROOT=str(root)))["level"] == "ok"
        (root / "a").write_bytes(bytes(int(3.5 * (1 << 20))))
        finding = found(look("scratch", SCRATCH_ROOT=str(root)))
        assert finding["level"] == "warning"
        assert finding["figures"]["free_ratio"] == pytest.approx(0.125)
        assert finding["what"] == f"0.0 GiB, 12%, free in {root}"
        assert finding["what_to_do"].startswith(f"df -h {root}")
        (root / "b").write_bytes(bytes(1 << 18))
        assert found(look("models-volume", MODELS_ROOT=str(root)))["level"] == "critical"


def test_a_volume_that_is_not_mounted(look: Look, tmp_path: Path) -> None:
    scratch = tmp_path / "data" / "scratch"
    scratch.mkdir(parents=True)
    settings = {"SCRATCH_ROOT": str(scratch), "HEALTH_VOLUME": str(tmp_path / "data")}
    finding = found(look("scratch", HEALTH_FREE="0,0", **settings))
    assert finding["level"] == "critical"
    assert finding["what"].startswith(f"nothing is mounted at {tmp_path / 'data'}")
    with volume(tmp_path / "data") as root:
        (root / "scratch").mkdir()
        assert found(look("scratch", **settings))["level"] == "ok"
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        finding = found(look("scratch", **settings))
        assert finding["level"] == "critical"
        assert f"{root} is read-only" in finding["what"]
    shutil.rmtree(scratch)
    assert found(look("scratch", **settings))["what"] == f"{scratch} is not a folder"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of models as the control machine leaves it."""
    root = tmp_path / "models"
    files = {name: name.encode() * 99 for name in ("model.bin", "config.json", "tokenizer.json")}
    files["vocabulary.txt"] = b"words"
    sums = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()
    )
    digest = hashlib.sha256(sums.encode()).hexdigest()[:12]
    version = root / ".versions" / f"tiny-{digest}"
    version.mkdir(parents=True)
    (version / SUMS).write_text(sums)
    for name, content in files.items():
        (version / name).write_bytes(content)
    (root / "tiny").symlink_to(version)
    return root


def test_models_that_are_whole(look: Look, models: Path) -> None:
    settings = {"MODELS_ROOT": str(models), "WHISPER_MODEL": "tiny"}
    assert found(look("models", **settings))["figures"] == {
        "models": 1,
        "files": 4,
        "verified": False,
    }
    result = look("models", options=("--json", "--full"), **settings)
    assert found(result)["level"] == "ok"
    assert found(result)["figures"]["verified"] is True


def test_a_model_that_was_altered_is_seen_when_it_is_read(look: Look, models: Path) -> None:
    (models / "tiny" / "model.bin").write_bytes(b"other" * 99)
    settings = {"MODELS_ROOT": str(models)}
    assert found(look("models", **settings))["level"] == "ok"
    finding = found(look("models", options=("--json", "--full"), **settings))
    assert finding["level"] == "critical"
    assert finding["what"] == f"{models / 'tiny' / 'model.bin'} was altered: its SHA-256 differs"
    assert "sync-models.yml" in finding["what_to_do"]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda tiny: (tiny / "model.bin").unlink(), "tiny/model.bin is missing"),
        (lambda tiny: (tiny / "model.bin").write_bytes(b""), "tiny/model.bin is empty"),
        (lambda tiny: (tiny / SUMS).write_text("lies"), "is not that of version"),
    ],
)
def test_a_model_that_is_damaged(
    look: Look, models: Path, damage: Callable[[Path], object], what: str
) -> None:
    damage(models / "tiny")
    finding = found(look("models", MODELS_ROOT=str(models)))
    assert finding["level"] == "critical"
    assert what in finding["what"]


def test_a_model_that_is_not_there(look: Look, models: Path) -> None:
    finding = found(look("models", MODELS_ROOT=str(models), WHISPER_MODEL="large-v3"))
    assert finding["level"] == "warning"
    assert "would download it" in finding["what"]
    policies = {"POLICIES_ROOT": "/etc/dropscribe/policies", "POLICY_ADAPTER": "none"}
    finding = found(look("models", MODELS_ROOT=str(models), **policies))
    assert finding["level"] == "critical"
    assert finding["what"] == f"POLICY_MODEL=gemma-2-9b does not exist in {models}"


def test_a_gpu_that_is_demanded_and_not_there(look: Look) -> None:
    finding = found(look("gpu"))
    assert (finding["level"], finding["what"]) == ("ok", "none on this host, and none required")
    finding = found(look("gpu", WHISPER_DEVICE="cuda"))
    assert finding["level"] == "critical"
    assert finding["what"] == "none on this host, but WHISPER_DEVICE=cuda requires one"


def test_a_gpu_is_asked_how_it_is(look: Look, tmp_path: Path) -> None:
    """As nvidia-smi of driver 550 answers; memory in MiB."""
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\necho 'NVIDIA L4, 550.54.15, 1203, [N/A]'\n")
    script.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    finding = found(look("gpu", WHISPER_DEVICE="cuda", PATH=path))
    assert (finding["level"], finding["what"]) == ("ok", "1: NVIDIA L4, driver 550.54.15")
    script.write_text("#!/bin/sh\necho 'NVIDIA L4, 550.54.15, 1203, 91'\n")
    finding = found(look("gpu", PATH=path))
    assert finding["level"] == "warning"
    assert "91 degrees" in finding["what"]


def test_a_clock_that_is_off(environment: Environment) -> None:
    (check,) = (check for check in CHECKS if check.name == "clock")
    levels = {}
    for seconds in (0, -60, 900):
        with open_context(environment, is_full=False, bar=ProgressBar()) as site:
            span = timedelta(seconds=seconds)
            shifted = type(site)(site.environment, site.settings, now=lambda: utc() + span)  # noqa: B023
            finding = check.run(shifted)
        levels[seconds] = finding.level.value
        assert finding.figures["offset_seconds"] == pytest.approx(seconds, abs=2)
    assert levels == {0: "ok", -60: "warning", 900: "critical"}


def utc() -> datetime:
    return datetime.now(UTC)


def test_a_silent_server_costs_a_checks_timeout_at_most(
    variables: dict[str, str],
) -> None:
    """In a process of its own, which has to end although its thread does not."""
    import socket  # noqa: PLC0415

    program = "from ops.cli.commands.health import health; health()"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", program, "--json", "--check", "store", "--check", "database"],
            env={**variables, "S3_ENDPOINT": endpoint, "HEALTH_TIMEOUT": "5s", "PATH": "/usr/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    findings = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
    assert done.returncode == 2, done.stderr
    assert findings["store"]["what"] == "no answer within 5 s"
    assert findings["database"]["level"] == "ok"
    assert done.stderr == ""


def test_figures_for_prometheus(
    look: Look, pipeline: Pipeline, tmp_path: Path, variables: dict[str, str]
) -> None:
    batch = unpacked(pipeline, tmp_path)
    aged(pipeline, batch, 3)
    swept(pipeline)
    path = tmp_path / "dropscribe.prom"
    result = look(
        options=("--textfile", str(path)), SCRATCH_ROOT=str(tmp_path), MODELS_ROOT=str(tmp_path)
    )
    assert (result.exit_code, result.output) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.glob("dropscribe*")] == [path.name]
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }
    assert samples["dropscribe_health", "batches", "site"] == 2
    assert samples["dropscribe_health", "database", "site"] == 0
    assert samples["dropscribe_stuck_batches",] == 1
    # Told by the sweep, and by unpack's notifications before.
    assert samples["dropscribe_queue_messages", "transcribe"] >= 3
    assert samples["dropscribe_queue_oldest_seconds", "transcribe"] > 3 * 3599
    assert samples["dropscribe_dead_letter_messages", "unpack"] == 0
    assert samples["dropscribe_last_sweep_repaired", "recording-undone"] == 3
    assert samples["dropscribe_last_sweep_timestamp_seconds",] == pytest.approx(
        utc().timestamp(), abs=30
    )
    assert 0 < samples["dropscribe_volume_free_ratio", "scratch"] <= 1
    assert abs(samples["dropscribe_clock_offset_seconds",]) < 5
    assert samples["dropscribe_health_timestamp_seconds", "site"] > 1.7e9


def test_findings_are_printed_for_people(look: Look, pipeline: Pipeline) -> None:
    pipeline.store._client.delete_bucket(Bucket=pipeline.store.bucket)
    result = look(options=(), COLUMNS="100")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert any(re.match(r"store +critical +there is no bucket", line) for line in lines)
    assert any("-> dropscribe bootstrap" in line for line in lines)
    assert any(
        re.match(r"scratch +skipped +SCRATCH_ROOT is not set on this host", line) for line in lines
    )
    assert lines[-1] == "overall: critical"
    result = look("store", "gpu", options=("--plugin",))
    assert re.match(
        r"DROPSCRIBE CRITICAL - store: there is no bucket .* \| 'gpu_gpus'=0$", result.stdout
    )


def test_no_secret_is_shown(look: Look, variables: dict[str, str]) -> None:
    for broken in ({"S3_SECRET_KEY": "hush-s3"}, {"BROKER_URL": "sqs://k:hush@127.0.0.1:9"}):
        result = look(options=("--json",), **broken)
        assert "hush" not in result.output
    assert variables["S3_SECRET_KEY"] not in look(options=("--json",)).output
