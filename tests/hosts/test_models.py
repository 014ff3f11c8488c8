"""Models from the control machine: sent once, taken up where it stopped, verified, switched."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hosts.control import Control, Played, reached
from tests.hosts.machine import Debian, Machine, machine

ROLE = "role.yml"
SYNC = "sync-models.yml"

ROOT = "/srv/dropscribe/models"
LARGE = 1 << 30

#: A unit as the role consumer_host makes them, which only says when it was started.
UNIT = """[Service]
ExecStart=/bin/sh -c 'echo %i >> /run/started; exec sleep infinity'
"""


@dataclass(frozen=True, slots=True)
class Source:
    """The models' folder on the control machine.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    def write(self, name: str, files: Mapping[str, bytes]) -> None:
        """Write a model, with remains of a download beside it."""
        for path, content in {**files, ".cache/part.incomplete": b"half"}.items():
            file = self.folder / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    def write_large(self, name: str, size: int) -> None:
        """Write a model of random bytes, so that rsync finds no block that it knows."""
        self.write(name, {"config.json": b"{}"})
        block = os.urandom(1 << 20)
        with (self.folder / name / "model.bin").open("wb") as file:
            for number in range(size >> 20):
                file.write(
                    number.to_bytes(8, "big") + block[number % 4096 :] + block[: number % 4096]
                )


@pytest.fixture(scope="module")
def host(base: Debian) -> Iterator[Machine]:
    with machine(base, "gpu-models", "127.0.1.23") as booted:
        booted.run(
            "apt-get update -qq && DEBIAN_FRONTEND=noninteractive"
            " apt-get install -qq -y python3-apt rsync"
        )
        (booted.tree / "etc/systemd/system/dropscribe@.service").write_text(UNIT)
        yield booted


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "models").mkdir()
    return Source(tmp_path / "models")


@pytest.fixture
def operator(tmp_path: Path, host: Machine) -> Iterator[Control]:
    """An operator of a host without models."""
    host.run(f"rm -rf /srv/dropscribe /run/started; mkdir -p {ROOT}")
    control = Control(tmp_path)
    control.write(
        {"gpu_workers": {"hosts": {host.name: {**reached(host), "gpu_worker_gpu": "none"}}}}
    )
    control.compose(ROLE, "gpu_worker")
    yield control
    host.run("systemctl stop 'dropscribe@*'")


def given(source: Source, *names: str, **more: object) -> Mapping[str, object]:
    """Give the inventory's variables."""
    return {
        "gpu_worker_volume_device": "none",
        "gpu_worker_models_source": str(source.folder),
        "gpu_worker_models": names,
        **more,
    }


def test_models_are_sent_once_and_only_their_own_workers_restart(
    operator: Control, host: Machine, source: Source
) -> None:
    source.write("large-v3", {"model.bin": os.urandom(1 << 20), "config.json": b"{}"})
    source.write("align/en", {"pytorch_model.bin": b"weights", "a name (1) #2.txt": b"text"})
    source.write("gemma-2-9b", {"model.safetensors": b"weights"})
    models = given(source, "large-v3", "align/en", "gemma-2-9b")
    host.run("systemctl start dropscribe@transcribe dropscribe@transcribe-2 dropscribe@moderate")

    foretold = operator.play(ROLE, "--check", "--diff", given=models)
    assert (foretold.code, foretold.failed) == (0, "")
    assert host.run(f"ls -A {ROOT}").out == ""

    first = operator.play(ROLE, given=models)
    assert (first.code, first.failed) == (0, "")
    assert set(first.changed) - set(foretold.changed) <= {"Send missing files"}
    for name in ("large-v3", "align/en", "gemma-2-9b"):
        host.run(f"cd {ROOT}/{name} && sha256sum --check --strict --quiet SHA256SUMS")
    # The digest in a version's name is that of its sums, and the link leads there.
    version = host.run(f"readlink {ROOT}/align/en").out.strip()
    digest = host.run(f"sha256sum < {ROOT}/align/en/SHA256SUMS").out[:12]
    assert version == f"../.versions/align/en-{digest}"
    # What is no model does not look like one, and a download's leavings are not sent.
    assert host.run(f"ls {ROOT}").out.split() == ["align", "gemma-2-9b", "large-v3"]
    assert host.run(f"find {ROOT}/.incoming -type f; find {ROOT} -name '*.incomplete'").out == ""
    host.run(f"setpriv --reuid=65534 --clear-groups cat {ROOT}/align/en/SHA256SUMS")

    assert sorted(_started(host)) == sorted(["transcribe", "transcribe-2", "moderate"] * 2)
    assert operator.play(ROLE, given=models).changed == []
    assert operator.play(SYNC, "--check", given=models).changed == []

    # Only the worker of the model that changes restarts, and what stays of it is not sent again.
    source.write("large-v3", {"config.json": b'{"beams": 5}'})
    second = operator.play(SYNC, given=models)
    assert (second.code, second.failed) == (0, "")
    assert _sent(second) < 10_000
    assert sorted(_started(host)[6:]) == ["transcribe", "transcribe-2"]


def test_a_sync_that_was_killed_goes_on_where_it_stopped(
    operator: Control, host: Machine, source: Source
) -> None:
    source.write_large("large-v3", LARGE)
    models = given(source, "large-v3")
    operator.set_variables(models)

    with operator.running(ROLE) as process:
        while _incoming(host) < LARGE // 2:
            assert process.poll() is None
            time.sleep(0.2)
        # Everything on the control machine at once: ansible-playbook, rsync, and its ssh.
        os.killpg(process.pid, signal.SIGKILL)
        _kill_rsync_of(operator)
    # Nothing that is half there looks like a model.
    assert host.run(f"ls {ROOT}").out == ""

    again = operator.play(ROLE, given=models)

    assert (again.code, again.failed) == (0, "")
    assert _sent(again) < LARGE * 0.55
    host.run(f"cd {ROOT}/large-v3 && sha256sum --check --strict --quiet SHA256SUMS")
    assert operator.play(ROLE, given=models).changed == []


def test_a_file_that_was_damaged_is_noticed_and_put_right(
    operator: Control, host: Machine, source: Source
) -> None:
    source.write("large-v3", {"model.bin": os.urandom(8 << 20), "config.json": b"{}"})
    models = given(source, "large-v3")
    operator.play(ROLE, given=models)

    # Somebody wrote to it: its times tell.
    host.run(f"printf x | dd conv=notrunc of={ROOT}/large-v3/model.bin bs=1 seek=4194304")
    assert operator.play(ROLE, "--check", given=models).changed == [
        "Verify the version, and switch to it"
    ]
    repaired = operator.play(SYNC, given=models)
    assert repaired.results["Verify the version, and switch to it"]["repaired"] == ["model.bin"]
    host.run(f"cd {ROOT}/large-v3 && sha256sum --check --quiet SHA256SUMS")

    # A file is gone.
    host.run(f"rm {ROOT}/large-v3/config.json")
    assert operator.play(SYNC, given=models).results["Verify the version, and switch to it"][
        "repaired"
    ] == ["config.json"]

    # The disk lost it, which nothing tells but the bytes.
    host.run(f"printf x | dd conv=notrunc of={ROOT}/large-v3/model.bin bs=1 seek=4194304")
    _pretend_it_was_so(host)
    assert operator.play(SYNC, given=models).changed == []
    full = operator.play(SYNC, "--extra-vars", "gpu_worker_models_verify=full", given=models)
    assert full.results["Verify the version, and switch to it"]["repaired"] == ["model.bin"]
    host.run(f"cd {ROOT}/large-v3 && sha256sum --check --quiet SHA256SUMS")


def test_versions_switch_at_once_and_unused_ones_go(
    operator: Control, host: Machine, source: Source
) -> None:
    models = given(source, "large-v3")
    source.write("large-v3", {"config.json": b"version 0"})
    operator.play(ROLE, given=models)
    # A reader that opens the model again and again, and a worker that keeps a version mapped.
    host.run(
        f"systemd-run --quiet --unit=reader sh -c"
        f" 'while cat {ROOT}/large-v3/config.json; do echo; sleep 0.01; done > /run/read'"
    )
    host.run(
        f"systemd-run --quiet --unit=holder sh -c 'exec sleep inf < {ROOT}/large-v3/config.json'"
    )
    first = host.run(f"readlink {ROOT}/large-v3").out.strip()
    switched: list[Played] = []
    try:
        for number in (1, 2, 3):
            source.write("large-v3", {"config.json": f"version {number}".encode()})
            switched.append(operator.play(SYNC, given=models))
            assert (switched[-1].code, switched[-1].failed) == (0, "")
        assert host.run("systemctl is-active reader").out == "active\n"
        read = set(host.run("sort -u /run/read").out.split("\n"))
        assert {f"version {number}" for number in range(4)} <= read
    finally:
        host.run("systemctl stop reader")

    # The last two, and the first, which a process has open.
    kept = host.run(f"cat {ROOT}/.versions/*/config.json").out
    assert sorted(re.findall(r"\d", kept)) == ["0", "2", "3"]
    assert switched[-1].results["Remove old versions"]["in_use"] == [Path(first).name]

    host.run("systemctl stop holder")
    assert operator.play(SYNC, given=models).results["Remove old versions"]["removed"] == [
        Path(first).name
    ]
    assert operator.play(SYNC, given=models).changed == []


def test_models_that_an_operator_put_there_are_not_replaced(
    operator: Control, host: Machine, source: Source
) -> None:
    source.write("large-v3", {"config.json": b"{}"})
    host.run(f"mkdir {ROOT}/large-v3 && touch {ROOT}/large-v3/mine")

    outcome = operator.play(SYNC, given=given(source, "large-v3"))

    assert outcome.code != 0
    assert "is not a link, so this role did not create it" in outcome.failed
    host.run(f"test -f {ROOT}/large-v3/mine")


def test_beneath_a_volume_that_is_not_mounted_nothing_is_sent(
    operator: Control, host: Machine, source: Source
) -> None:
    source.write("large-v3", {"config.json": b"{}"})
    unmounted = given(source, "large-v3", gpu_worker_volume_device="/dev/vdb")

    assert operator.play(SYNC, "--check", given=unmounted).code == 0
    outcome = operator.play(SYNC, given=unmounted)

    assert outcome.code != 0
    assert "nothing is mounted on" in outcome.failed
    assert host.run(f"ls -A {ROOT}").out == ""


def test_a_model_that_differs_from_its_makers_sums_is_not_sent(
    operator: Control, source: Source
) -> None:
    source.write(
        "large-v3", {"model.bin": b"damaged", "SHA256SUMS": f"{'0' * 64}  model.bin".encode()}
    )

    outcome = operator.play(SYNC, given=given(source, "large-v3"))

    assert outcome.code != 0
    assert "model.bin differs from" in outcome.failed


def _sent(outcome: Played) -> int:
    """Read the number of sent bytes from rsync's figures."""
    said = str(outcome.results["Send missing files"]["msg"])
    found = re.search(r"Total bytes sent: ([\d,]+)", said)
    assert found, said
    return int(found[1].replace(",", ""))


def _incoming(host: Machine) -> int:
    # Blocks, as a file that is written in place may be as long as it will be at once.
    files = (host.tree / "srv/dropscribe/models/.incoming").rglob("*.bin")
    return sum(file.stat().st_blocks * 512 for file in files)


def _started(host: Machine) -> list[str]:
    return host.run("cat /run/started").out.split()


def _kill_rsync_of(operator: Control) -> None:
    """Kill the rsync of this test, which Ansible starts in a session of its own."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if line[0].endswith(b"rsync") and any(
            str(operator.folder).encode() in each for each in line
        ):
            os.kill(int(folder.name), signal.SIGKILL)


def _pretend_it_was_so(host: Machine) -> None:
    """Record the size and times of a damaged file as verified."""
    host.run(
        "python3 - <<'END'\n"
        "import json, pathlib\n"
        f"root = pathlib.Path('{ROOT}')\n"
        "record = next((root / '.records').glob('large-v3-*.json'))\n"
        "known = json.loads(record.read_text())\n"
        "status = (root / 'large-v3/model.bin').stat()\n"
        "known['model.bin'] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]\n"
        "record.write_text(json.dumps(known))\n"
        "END"
    )
