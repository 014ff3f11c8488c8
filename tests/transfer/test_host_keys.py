"""Nobody is trusted who is not known, and whoever is refused is told why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.servers.sshd import SshServer, sshd
from tests.transfer.archives import tar_of
from tests.transfer.conftest import Sending

CALLS = tar_of({"one.wav": b"RIFF"})


@pytest.fixture
def server() -> Iterator[SshServer]:
    """An sshd of each test's own."""
    with sshd() as running:
        yield running


@pytest.fixture
def calls(sending: Sending) -> Sending:
    sending.put("calls.tar", CALLS)
    return sending


def test_an_unknown_host_key_is_refused(calls: Sending, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    nobody.touch()

    refused = calls.run("--known-hosts", str(nobody), calls.source("*"))

    assert refused.exit_code == 1
    assert "unknown host key" in refused.stderr
    assert f"ssh-keyscan -p {calls.server.port} 127.0.0.1 >> {nobody}" in refused.stderr
    assert "SHA256:" in refused.stderr
    assert calls.bucket.keys() == []


def test_a_changed_host_key_is_refused(calls: Sending) -> None:
    calls.server.change_host_key()

    refused = calls.run(calls.source("*"))

    assert refused.exit_code == 1
    assert "its host key has CHANGED" in refused.stderr
    assert f"ssh-keygen -R '[127.0.0.1]:{calls.server.port}'" in refused.stderr
    assert calls.bucket.keys() == []


def test_the_check_cannot_be_switched_off(calls: Sending, tmp_path: Path) -> None:
    calls.variables["TRANSFER_KNOWN_HOSTS"] = ""
    config = _config(tmp_path, "StrictHostKeyChecking no", "UserKnownHostsFile none")
    refused = calls.run(calls.source("*"), TRANSFER_SSH_CONFIG=config)
    assert refused.exit_code == 1
    assert "they are always checked" in refused.stderr

    config = _config(tmp_path, "StrictHostKeyChecking no", "UserKnownHostsFile /dev/null")
    refused = calls.run(calls.source("*"), TRANSFER_SSH_CONFIG=config)
    assert "unknown host key" in refused.stderr
    assert calls.bucket.keys() == []


def test_names_and_keys_of_ssh_config_count(calls: Sending, tmp_path: Path) -> None:
    server = calls.server
    config = _config(
        tmp_path,
        "Host studio",
        "HostName 127.0.0.1",
        f"Port {server.port}",
        f"User {server.user}",
        f"IdentityFile {server.key}",
        f"UserKnownHostsFile {server.known_hosts}",
    )
    calls.variables |= {"TRANSFER_SSH_KEY": "", "TRANSFER_KNOWN_HOSTS": ""}

    calls.send(f"studio:{calls.there}/*", TRANSFER_SSH_CONFIG=config)

    assert calls.bucket.head(calls.bucket.keys()[0])["Metadata"]["source-host"] == "studio"


def test_a_jump_has_to_be_known_as_well(calls: Sending, tmp_path: Path) -> None:
    server = calls.server
    with sshd() as gate:
        gate_keys = (server.key.with_suffix(".pub")).read_text()
        (gate.folder / "user_key.pub").write_text(gate_keys)
        config = _config(
            tmp_path,
            "Host studio",
            "HostName 127.0.0.1",
            f"Port {server.port}",
            f"ProxyJump {gate.user}@127.0.0.1:{gate.port}",
        )
        source = f"{server.user}@studio:{calls.there}/*"

        refused = calls.run(source, TRANSFER_SSH_CONFIG=config)
        assert refused.exit_code == 1
        assert f"127.0.0.1:{gate.port}: unknown host key" in refused.stderr
        assert calls.bucket.keys() == []

        known = Path(calls.variables["TRANSFER_KNOWN_HOSTS"])
        known.write_text(known.read_text() + gate.known_at(gate.port))
        calls.send(source, TRANSFER_SSH_CONFIG=config)
    assert calls.bucket.only() == CALLS


def test_a_key_that_is_not_let_in_is_told(calls: Sending, tmp_path: Path) -> None:
    (calls.server.folder / "user_key.pub").write_text("")

    refused = calls.run(calls.source("*"))

    assert refused.exit_code == 1
    assert "does not let" in refused.stderr
    assert "authorized_keys" in refused.stderr


def test_a_login_for_sftp_alone_is_told(sending: Sending) -> None:
    sending.put("calls.tar", CALLS)
    with sshd("ForceCommand internal-sftp") as confined:
        done = sending.run(
            confined.source(f"{sending.there}/*"),
            TRANSFER_SSH_KEY=str(confined.key),
            TRANSFER_KNOWN_HOSTS=str(confined.known_hosts),
            TRANSFER_TIMEOUT="5",
        )
    assert done.exit_code == 1
    assert "this login needs a shell" in done.stderr
    assert sending.bucket.keys() == []


def _config(folder: Path, *lines: str) -> str:
    path = folder / "ssh_config"
    path.write_text("\n".join(lines) + "\n")
    return str(path)
