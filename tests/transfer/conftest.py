"""A real sshd with a folder of recordings, the embedded store, and ``dropscribe transfer``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops.cli.main import main
from ops.wiring.environment import Environment
from ops.wiring.settings import StoreSettings
from tests.harness.faults.http import MessageHead
from tests.harness.faults.relay import Relay
from tests.harness.faults.store_proxy import Misbehaviour, StoreProxy
from tests.harness.servers.sshd import SshServer, sshd
from tests.harness.servers.store import boto_client
from tests.integration.conftest import embedded

__all__ = ["embedded"]

#: When the recordings of these tests were made: long ago.
MADE = 1_000_000_000


@pytest.fixture(scope="session")
def server() -> Iterator[SshServer]:
    """An sshd whose host key stays."""
    with sshd() as running:
        yield running


@dataclass(frozen=True)
class TargetBucket:
    """The store, as an operator sees it."""

    client: Any
    name: str

    def keys(self) -> list[str]:
        answer = self.client.list_objects_v2(Bucket=self.name)
        return [entry["Key"] for entry in answer.get("Contents", ())]

    def head(self, key: str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.client.head_object(Bucket=self.name, Key=key)
        return answer

    def read(self, key: str) -> bytes:
        with self.client.get_object(Bucket=self.name, Key=key)["Body"] as body:
            content: bytes = body.read()
        return content

    def contents(self) -> list[bytes]:
        return [self.read(key) for key in self.keys()]

    def only(self) -> bytes:
        (content,) = self.contents()
        return content


@dataclass
class Sending:
    """The files of the other machine, and the command that transfers them."""

    server: SshServer
    bucket: TargetBucket
    there: Path
    root: Path
    variables: dict[str, str] = field(repr=False)

    def put(self, name: str | bytes, content: bytes, mtime: int = MADE) -> bytes:
        """Write a file on the other machine."""
        path = os.path.join(os.fsencode(self.there), os.fsencode(name))  # noqa: PTH118
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(content)
        os.utime(path, (mtime, mtime))
        return path

    def change(self, name: str, content: bytes, mtime: int = MADE) -> None:
        """Write it over one that is being read."""
        self.put(name, content, mtime)

    def source(self, name: str = "", port: int | None = None) -> str:
        return self.server.source(f"{self.there}/{name}", port)

    def run(self, *arguments: str, **others: str) -> Result:
        variables = {**self.variables, **others}
        return CliRunner().invoke(main, ["transfer", *arguments], env=variables)

    def send(self, *arguments: str, **others: str) -> Any:
        """Run it successfully, and return its ``--json``."""
        done = self.run("--json", *arguments, **others)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def start(self, *arguments: str, **others: str) -> subprocess.Popen[bytes]:
        """Run it as a process, to be killed."""
        return subprocess.Popen(
            [sys.executable, "-m", "ops", "transfer", *arguments],
            env={**os.environ, **self.variables, **others},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def staged(self) -> list[Path]:
        return list(self.root.glob("*.staged"))

    def trust(self, port: int) -> None:
        """Add the server's key for another port."""
        known = Path(self.variables["TRANSFER_KNOWN_HOSTS"])
        known.write_text(known.read_text() + self.server.known_at(port))


@pytest.fixture
def bucket(embedded: dict[str, str]) -> TargetBucket:
    name = f"test-{uuid.uuid4().hex[:12]}"
    client = boto_client("s3", StoreSettings.read(Environment(embedded)))
    client.create_bucket(Bucket=name)
    return TargetBucket(client, name)


@pytest.fixture
def sending(
    server: SshServer, bucket: TargetBucket, embedded: dict[str, str], tmp_path: Path
) -> Sending:
    """An empty folder on the other machine, and nothing sent."""
    there = tmp_path / "there"
    there.mkdir()
    known = tmp_path / "known_hosts"
    known.write_text(server.known_hosts.read_text())
    root = tmp_path / "root"
    return Sending(
        server,
        bucket,
        there,
        root,
        {
            **embedded,
            "S3_BUCKET": bucket.name,
            "TRANSFER_ROOT": str(root),
            "TRANSFER_SSH_KEY": str(server.key),
            "TRANSFER_KNOWN_HOSTS": str(known),
            "TRANSFER_RESERVE": "0",
            "TRANSFER_ATTEMPTS": "3",
        },
    )


class Line(Relay):
    """A network that counts bytes, and calls a function once after a number of them."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.passed = 0
        self._after: int | None = None
        self._do: Callable[[], None] = self.cut

    def after(self, count: int, do: Callable[[], None]) -> None:
        self._after, self._do = self.passed + count, do

    def _pass_on(self, data: bytes, sink: Any) -> None:
        super()._pass_on(data, sink)
        with self._lock:
            self.passed += len(data)
            due = self._after is not None and self.passed >= self._after
            if due:
                self._after = None
        if due:
            self._do()


@pytest.fixture
def line(sending: Sending) -> Iterator[Line]:
    """A network between the sender and the other machine."""
    with Line(sending.server.port) as line:
        sending.trust(line.port)
        yield line


class CountingProxy(StoreProxy):
    """Counts the requests."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.requests: Counter[str] = Counter()

    def _take(self, request: MessageHead, faults: Any) -> Misbehaviour | None:
        if Misbehaviour.HANG in faults:
            self.requests[request.method] += 1
        return super()._take(request, faults)


@pytest.fixture
def store(sending: Sending) -> Iterator[CountingProxy]:
    """What stands between the sender and the store."""
    with CountingProxy(sending.variables["S3_ENDPOINT"]) as proxy:
        sending.variables["S3_ENDPOINT"] = proxy.endpoint
        yield proxy
