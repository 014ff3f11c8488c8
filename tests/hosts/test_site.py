"""Two fresh hosts, site.yml, and archives that they complete through failures and upgrades.

Making the hosts takes minutes, so all tests here share them, and come in this order.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.polling import eventually
from tests.hosts.deployed import HostDeployment, deployed
from tests.hosts.machine import Debian

_ROOT = Path(__file__).parents[2]

#: Five recordings in which somebody speaks, a silent one, and a broken one.
_SAMPLE = _ROOT / "ops/sample/sample.tar"

#: Recordings of an archive that takes a while.
_MANY = 24

_EXPOSURE = re.compile(r"Overall exposure level for \S+: ([\d.]+)")

#: What `consume` does in a release that can't start.
_BROKEN = """

def run_consumers(*_: object, **__: object) -> None:
    raise SystemExit("broken")
"""


@pytest.fixture(scope="module")
def site(base: Debian, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostDeployment]:
    """The hosts."""
    with deployed(base, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """An archive that takes longer than the events on the hosts meanwhile."""
    with tarfile.open(_SAMPLE) as sample:
        spoken = [
            (member.name, sample.extractfile(member).read())  # type: ignore[union-attr]
            for member in sample
            if member.name.endswith("river.mp3")
        ]
    path = tmp_path / "many.tar"
    with tarfile.open(path, "w") as archive:
        for round_ in range(_MANY):
            for name, content in spoken:
                info = tarfile.TarInfo(f"{round_:02}/{name}")
                # Each is another recording, as to its bytes.
                info.size = len(content) + round_
                archive.addfile(info, io.BytesIO(content + bytes(round_)))
    return path


def half_done(site: HostDeployment, archive: Path) -> str:
    """Drop an archive, and wait until some of its recordings are transcribed."""
    batch = site.drop(archive)
    number = eventually(lambda: site.transcribed(batch), 120, pause=0.1)
    assert number < _MANY, "it was over too soon"
    return batch


def release(site: HostDeployment) -> dict[str, str]:
    """Read the release that runs on each host."""
    return {
        host.name: host.run("readlink -f /opt/dropscribe/current").out.strip()
        for host in site.hosts
    }


def source(folder: Path, version: str) -> Path:
    """Copy the project as another version of it."""
    folder.mkdir()
    for name in ("events", "consumers", "ops"):
        shutil.copytree(_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, folder)
    text = (_ROOT / "setup.cfg").read_text()
    (folder / "setup.cfg").write_text(re.sub(r"(?m)^version = .*$", f"version = {version}", text))
    return folder


def test_a_second_run_changes_nothing(site: HostDeployment) -> None:
    again = site.control.play("site.yml")
    assert (again.code, again.changed) == (0, []), again.output[-6000:]


def test_an_archive_that_is_dropped_is_completed_by_the_hosts(site: HostDeployment) -> None:
    batch = site.drop(_SAMPLE)
    status = site.complete(batch)
    words = " ".join(each["text"] or "" for each in status["recordings"])
    assert "river" in words
    assert status["counts"]["transcribed"] == 5
    # By the batch's id it can be followed through all hosts.
    for host, routes in ((site.cpu, ("unpack", "review")), (site.gpu, ("transcribe",))):
        for route in routes:
            unit = f"'dropscribe@{route}*'"
            journal = host.run(f"journalctl --output cat --no-pager --unit {unit}").out
            lines = [json.loads(line) for line in journal.splitlines() if line.startswith("{")]
            told = [line for line in lines if line.get("batch") == batch]
            assert "delivery" in {line["event"] for line in told}


def test_recordings_are_transferred_once(site: HostDeployment) -> None:
    with tarfile.open(_SAMPLE) as sample:
        sound = sample.extractfile("interviews/01 river.mp3")
        assert sound is not None
        made = base64.b64encode(sound.read()).decode()
    site.gpu.run(f"mkdir -p /srv/recordings && base64 -d > /srv/recordings/tape.mp3 <<< '{made}'")
    unit = "dropscribe-transfer@recorder"
    sent = []
    for _ in range(2):
        site.cpu.run(f"systemctl start {unit}")
        invocation = site.cpu.run(f"systemctl show --property InvocationID --value {unit}").out
        said = f"journalctl --output cat --no-pager _SYSTEMD_INVOCATION_ID={invocation.strip()}"
        sent.append(json.loads(site.cpu.run(said).out)["transfers"])
    (batch,) = sent[0]
    assert sent[1] == []
    assert site.complete(batch["batch_id"])["counts"] == {"transcribed": 1, "ignored": 0}


def test_health_finds_nothing_wrong(site: HostDeployment) -> None:
    site.cpu.run("systemctl start dropscribe-sweep.service")
    findings = json.loads(site.cpu.run("dropscribe health --json", check=False).out)["findings"]
    looked_at = {each["check"] for each in findings if each["level"] != "skipped"}
    # Not at rules: Ceph shows them to the bucket's owner alone.
    assert looked_at >= {"store", "broker", "queues", "database", "batches", "sweep"}
    wrong = [each for each in findings if each["level"] not in {"ok", "skipped"}]
    # The hosts have no RTC-synchronised clock of their own, and this one no volume.
    assert wrong == []
    site.cpu.run("systemctl start dropscribe-health.service")
    figures = site.cpu.run("cat /var/lib/prometheus/node-exporter/dropscribe.prom").out
    assert 'dropscribe_queue_consumers{route="transcribe"} 1.0' in figures


def test_each_host_checks_its_own_parts(site: HostDeployment) -> None:
    weights = "/srv/dropscribe/models/tiny.en/model.bin"
    units = ("dropscribe-host-health", "dropscribe-models-health")

    def figures() -> str:
        for unit in units:
            site.gpu.run(f"systemctl start {unit}.service")
        return site.gpu.run("cat /var/lib/prometheus/node-exporter/*.prom").out

    seen = figures()
    pattern = r'^dropscribe_health\{check="([a-z-]+)",look="host"\}'
    checks = set(re.findall(pattern, seen, re.MULTILINE))
    assert checks == {"scratch", "models-volume", "models", "gpu"}
    assert 'dropscribe_health{check="models",look="models"} 0.0' in seen
    assert 'dropscribe_volume_free_ratio{volume="models"}' in seen
    # A byte of the weights is another one, and each file is still as long as it was.
    site.gpu.run(f"printf x | dd conv=notrunc of={weights} bs=1 seek=4096 status=none")
    seen = figures()
    assert 'dropscribe_health{check="models",look="host"} 0.0' in seen
    assert 'dropscribe_health{check="models",look="models"} 2.0' in seen
    assert site.control.play("sync-models.yml").code == 0
    assert 'dropscribe_health{check="models",look="models"} 0.0' in figures()


def test_no_secret_is_readable_by_others(site: HostDeployment) -> None:
    assert len(site.secrets) > 10
    telling = "; ".join(
        (
            "cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
            "journalctl --no-pager",
            "cat /etc/systemd/system/*dropscribe* /etc/dropscribe/*.env /etc/dropscribe/routes/*",
            "systemctl show 'dropscribe*'",
            "find /var/log -type f -exec cat {} +",
        )
    )
    told = [site.first.output, *(host.run(telling, check=False).out for host in site.hosts)]
    for secret in site.secrets:
        assert not any(secret[-24:] in text for text in told)
    private = "find /etc/dropscribe/credentials -type f ! -perm 0600"
    assert [host.run(private).out for host in site.hosts] == ["", ""]


def test_workers_can_do_no_more_than_they_need(site: HostDeployment) -> None:
    units = [
        (site.cpu, "dropscribe@unpack"),
        (site.cpu, "dropscribe@review"),
        (site.cpu, "dropscribe-sweep"),
        (site.cpu, "dropscribe-health"),
        (site.gpu, "dropscribe@transcribe"),
        (site.gpu, "dropscribe-host-health"),
        (site.gpu, "dropscribe-models-health"),
    ]
    for host, name in units:
        said = host.run(f"systemd-analyze security --no-pager {name}.service").out
        exposure = _EXPOSURE.search(said)
        assert exposure is not None
        assert float(exposure[1]) < 3.0, said


def test_a_worker_that_is_killed_costs_nothing(site: HostDeployment, many: Path) -> None:
    batch = half_done(site, many)
    for host, unit in ((site.gpu, "dropscribe@transcribe"), (site.cpu, "dropscribe@unpack")):
        host.run(f"systemctl kill --signal SIGKILL {unit}")
    assert site.complete(batch)["counts"]["transcribed"] == _MANY


def test_a_host_that_loses_its_power_costs_nothing(site: HostDeployment, many: Path) -> None:
    batch = half_done(site, many)
    site.gpu.kill()
    site.gpu.start()
    assert site.complete(batch)["counts"]["transcribed"] == _MANY


def test_a_host_of_servers_that_is_restarted_costs_nothing(
    site: HostDeployment, many: Path
) -> None:
    batch = half_done(site, many)
    site.cpu.reboot()
    assert site.complete(batch)["counts"]["transcribed"] == _MANY


def test_an_upgrade_and_a_way_back_in_the_middle_of_a_batch(
    site: HostDeployment, many: Path, tmp_path: Path
) -> None:
    before = release(site)
    batch = half_done(site, many)
    given = ("--extra-vars", f"consumer_host_source={source(tmp_path / 'next', '99.0')}")
    upgraded = site.control.play("rolling-upgrade.yml", *given)
    assert upgraded.code == 0, upgraded.output[-6000:]
    after = release(site)
    assert all("/99.0-" in path for path in after.values())
    assert site.complete(batch)["counts"]["transcribed"] == _MANY
    batch = half_done(site, many)
    back = site.control.play("rollback.yml")
    assert back.code == 0, back.output[-6000:]
    assert release(site) == before
    assert site.complete(batch)["counts"]["transcribed"] == _MANY
    assert json.loads(site.run("dead", "list", "--json").stdout)["letters"] == []


def test_a_release_that_does_not_start_is_taken_back(site: HostDeployment, tmp_path: Path) -> None:
    before = release(site)
    broken = source(tmp_path / "broken", "99.1")
    with (broken / "ops/cli/commands/consume.py").open("a") as module:
        module.write(_BROKEN)
    upgraded = site.control.play(
        "rolling-upgrade.yml", "--extra-vars", f"consumer_host_source={broken}"
    )
    assert upgraded.code != 0
    assert "did not become ready" in upgraded.output
    assert release(site) == before
    assert site.complete(site.drop(_SAMPLE))["state"] == "complete"
