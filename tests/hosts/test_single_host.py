"""One fresh host from the shipped inventory, with the values that an operator fills in.

The tests are the steps of "A single host in ten minutes" in docs/operations/install.md, in order.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.control import PLAYBOOKS, Control, Played, reached
from tests.hosts.machine import Debian, Machine, machine
from tests.hosts.premises import (
    ExistingStore,
    authority_of,
    found,
    models,
    on_shared_loopback,
    password,
    store,
)

#: Names a step, and shows how long it took.
Timed = Callable[[str], AbstractContextManager[None]]

_ADDRESS = "127.0.1.36"
_EPMD_PORT = 24470

_SAMPLE = Path(__file__).parents[2] / "ops/sample/sample.tar"

#: All that a host keeps, but lists of packages and what systemd and Ansible leave for a moment:
#: files with size, owner, mode and time, folders without time.
_KEPT = (
    "find /etc /home /opt /root /srv /usr /var/lib"
    " \\( -path /root/.ansible -o -path /var/lib/apt -o -path /var/lib/systemd \\) -prune"
    " -o ! -type d -printf '%p %s %u %g %m %T@\\n' -o -type d -printf '%p %u %g %m\\n'"
)


@dataclass(frozen=True, slots=True)
class Single:
    """The host, and the operator who sets it up.

    Attributes:
        host: All of dropscribe, but for the store.
        control: From where.
        password_file: With the vault's password.
        secrets: All that the vault holds.
    """

    host: Machine
    control: Control
    password_file: Path
    secrets: Sequence[str]

    def site(self, *arguments: str) -> Played:
        """Run ``site.yml`` as the README says."""
        with_vault = f"--vault-password-file={self.password_file}"
        return self.control.play("site.yml", with_vault, *arguments)

    def drop(self) -> dict[str, Any]:
        """Drop the sample on the host, wait for its batch, and return the outcome."""
        said = self.host.run("dropscribe drop --wait --json /root/sample.tar", timeout=900)
        (batch,) = json.loads(said.out)["batches"]
        return dict(batch)

    def wrong(self) -> list[dict[str, Any]]:
        """Ask for the host's health, and return the findings that are not ok."""
        said = self.host.run("dropscribe health --json", check=False)
        findings = json.loads(said.out)["findings"]
        wrong = [each for each in findings if each["level"] not in {"ok", "skipped"}]
        assert said.code == 0 or wrong, said.error
        return wrong


@pytest.fixture
def timed(capsys: pytest.CaptureFixture[str]) -> Timed:
    """Print the duration of a step, as the README promises minutes."""

    @contextmanager
    def step(name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        with capsys.disabled():
            print(f"\n{name}: {time.monotonic() - began:.0f} s")  # noqa: T201

    return step


@pytest.fixture(scope="module")
def single(base: Debian, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Single]:
    folder = tmp_path_factory.mktemp("single")
    control = Control(folder / "control")
    shutil.copytree(PLAYBOOKS / "inventories" / "single-host", control.inventory)
    password_file = control.folder / "vault-password"
    password_file.write_text(password())
    with (
        store(folder, authority_of(control)) as bucket,
        machine(base, "one", _ADDRESS) as host,
    ):
        # As images of clouds are; what is there of the tests' own tree would make it too easy.
        host.run("rm -r /var/lib/apt/lists/*")
        base.lend_packages(host)
        models(control.folder / "models")
        hidden = fill_in(control, host, bucket, password_file)
        yield Single(host, control, password_file, hidden)


def fill_in(
    control: Control, host: Machine, bucket: ExistingStore, password_file: Path
) -> list[str]:
    """Edit the inventory as the README says, and encrypt the vault; returns its secrets."""
    edit(control.inventory / "hosts.yml", {"192.0.2.10": host.address})
    everyone = control.inventory / "group_vars" / "all"
    edit(
        everyone / "main.yml",
        {
            "https://s3.example.org": bucket.endpoint,
            "WHISPER_MODEL: small": "WHISPER_MODEL: tiny.en",
            "gpu_worker_models: [small, align/en, nltk_data]": "gpu_worker_models: [tiny.en]",
        },
    )
    # What is special of a machine of these tests.
    special = {**reached(host), **bucket.variables, **on_shared_loopback(_EPMD_PORT)}
    (control.inventory / "host_vars").mkdir()
    (control.inventory / "host_vars" / "one.yml").write_text(json.dumps(special))
    hidden: list[str] = [each["secret_key"] for each in bucket.keys.values()]

    def choose(match: re.Match[str]) -> str:
        hidden.append(password())
        return f"{match[1]}: {json.dumps(hidden[-1])}"

    def key_of(match: re.Match[str]) -> str:
        return f"{match[1]}: {json.dumps(bucket.keys[match[1]])}"

    vault = everyone / "vault.yml"
    (everyone / "vault.yml.example").rename(vault)
    text = re.sub(r'(\w+): \{access_key: "", secret_key: ""\}', key_of, vault.read_text())
    # The passwords; where alerts go stays empty.
    vault.write_text(re.sub(r'^(  \w+): ""$', choose, text, flags=re.MULTILINE))
    subprocess.run(
        [
            control.program("ansible-vault"),
            "encrypt",
            f"--vault-password-file={password_file}",
            vault,
        ],
        check=True,
        capture_output=True,
    )
    assert vault.read_text().startswith("$ANSIBLE_VAULT;")
    return hidden


def edit(path: Path, changes: Mapping[str, str]) -> None:
    """Replace text in a file as an operator does; the text has to be there."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def kept(host: Machine) -> set[str]:
    """List the files that a host keeps."""
    return set(host.run(_KEPT).out.splitlines())


def restoring() -> list[str]:
    """Read the commands of docs/operations/restore.md that restore the database, by block."""
    text = (PLAYBOOKS.parents[1] / "docs/operations/restore.md").read_text()
    chapter = text.partition("To restore the database")[2].partition("## Disasters")[0]
    return re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)


#: Of all that is to be done, what shows that no role was passed over.
FORETOLD = {
    "Install the authority of the store's certificate",
    "Install the packages without starting the server",
    "Install the package without starting it",
    "Install the unit",
    "Write the settings of each worker",
    "Write the settings of bootstrap",
    "Install Prometheus and Alertmanager without starting them",
}


def test_a_check_of_a_fresh_host_foretells_and_changes_nothing(
    single: Single, timed: Timed
) -> None:
    before = kept(single.host)
    with timed("check of a fresh host"):
        foretold = single.site("--check", "--diff")
    assert (foretold.code, foretold.failed) == (0, ""), foretold.output[-6000:]
    assert kept(single.host) ^ before == set()
    assert set(foretold.changed) >= FORETOLD
    assert not found(single.secrets, foretold.output)


def test_from_nothing_to_workers_that_are_ready(single: Single, timed: Timed) -> None:
    with timed("site.yml"):
        made = single.site()
    assert (made.code, made.failed) == (0, ""), made.output[-6000:]
    assert not found(single.secrets, made.output)
    running = single.host.run("systemctl is-active dropscribe@{unpack,transcribe,review}").out
    assert running.split() == ["active"] * 3


def test_a_check_then_says_that_nothing_is_to_be_done(single: Single, timed: Timed) -> None:
    with timed("check of what was made"):
        check = single.site("--check", "--diff")
    assert (check.code, check.failed, check.changed) == (0, "", []), check.output[-6000:]


def test_an_archive_dropped_on_the_host_is_completed(single: Single, timed: Timed) -> None:
    shutil.copy(_SAMPLE, single.host.tree / "root/sample.tar")
    with timed("drop --wait"):
        assert single.drop()["state"] == "complete"


def test_health_finds_nothing_wrong(single: Single) -> None:
    single.host.run("systemctl start dropscribe-sweep.service")
    assert single.wrong() == []
    single.host.run("systemctl start dropscribe-host-health dropscribe-models-health")
    figures = single.host.run("cat /var/lib/prometheus/node-exporter/dropscribe-*-health.prom").out
    pattern = r'^dropscribe_health\{check="([a-z-]+)",look="([a-z]+)"\} 0[.]0$'
    fine = set(re.findall(pattern, figures, re.MULTILINE))
    assert fine >= {("models", "host"), ("gpu", "host"), ("models", "models")}


def test_a_database_comes_back_from_its_dump_and_from_the_bucket(single: Single) -> None:
    dumped = single.drop()
    single.host.run("systemctl start dropscribe-dump.service")
    dump = single.host.run("ls /var/backups/dropscribe/*.dump | tail -n 1").out.strip()
    told = "/var/lib/prometheus/node-exporter/dropscribe-dump.prom"
    single.host.run(f"until grep dropscribe_last_dump_timestamp_seconds {told}; do sleep 1; done")
    later = single.drop()

    stop, restore, take_up = restoring()
    single.host.run(stop)
    single.host.run(restore.replace("/var/backups/dropscribe/dropscribe-....dump", dump))
    single.host.run(take_up, timeout=900)
    started = single.site()
    assert (started.code, started.failed) == (0, ""), started.output[-6000:]

    for batch in (dumped, later):
        said = single.host.run(f"dropscribe status --json {batch['batch_id']}").out
        status = json.loads(said)
        assert (status["state"], status["counts"]) == ("complete", batch["counts"])
    assert single.drop()["state"] == "complete"
    assert single.wrong() == []


def test_a_check_names_manual_changes(single: Single) -> None:
    altered = {
        "/etc/rabbitmq/rabbitmq.conf": "s/^heartbeat = .*/heartbeat = 7/",
        "/etc/dropscribe/operator.env": "s/^S3_BUCKET=.*/S3_BUCKET='another'/",
    }
    for path, how in altered.items():
        single.host.run(f'cp -a {path} {path}.was; sed -i "{how}" {path}')
    try:
        check = single.site("--check", "--diff", "--tags=broker,operator")
    finally:
        for path in altered:
            single.host.run(f"mv {path}.was {path}")
    assert check.code == 0, check.output[-6000:]
    assert check.changed == [
        "Configure",
        # What was altered is newer than what the server has read.
        "Complete an interrupted earlier run",
        "Restart RabbitMQ",
        "Write the settings of an operator's commands",
    ]
    assert "-heartbeat = 7" in check.output
    assert "+heartbeat = 60" in check.output
    assert "-S3_BUCKET='another'" in check.output
    assert not found(single.secrets, check.output)
