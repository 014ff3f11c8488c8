"""A real MinIO, by its own program: there is no Debian package of it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from consumers.errors import ConfigurationError
from tests.harness.servers.grounds import grounds
from tests.harness.servers.process import (
    Process,
    RestartableServer,
    answer,
    running,
    wait_until,
)

_ACCESS_KEY = "dropscribe"
_SECRET_KEY = secrets.token_hex(20)


@dataclass(frozen=True, slots=True)
class MinioServer(RestartableServer):
    """A running server with one disk.

    Attributes:
        endpoint: ``http://127.0.0.1:PORT``; the same after a restart.
        access_key: Of its administrator.
        secret_key: The same user's.
        queue_dir: Where it may keep events.
        folder: With its data and log; removed at the end.
    """

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    queue_dir: Path
    folder: Path
    _process: Process = field(repr=False)

    @property
    def settings(self) -> dict[str, str]:
        """dropscribe's settings for it."""
        return {
            "S3_ENDPOINT": self.endpoint,
            "S3_ACCESS_KEY": self.access_key,
            "S3_SECRET_KEY": self.secret_key,
            "STORE_QUEUE_DIR": str(self.queue_dir),
        }

    def wait(self) -> None:
        """Wait until it answers."""
        port = int(self.endpoint.rsplit(":", 1)[1])
        request = b"GET /minio/health/ready HTTP/1.0\r\n\r\n"
        wait_until(lambda: _is_ready(answer(port, request)), [self._process], "the start of minio")


@contextmanager
def minio(variables: Mapping[str, str]) -> Iterator[MinioServer]:
    """Run a server while the block runs.

    Args:
        variables: Environment variables; ``MINIO_BIN`` names the
            program; without it, it is looked for on the PATH.
    """
    program = find_program(variables)
    with grounds("minio", ports=2) as place:
        port, console = place.ports
        data, queue_dir = place.folder / "data", place.folder / "events"
        data.mkdir()
        addresses = ["--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console}"]
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(place.folder),
            "MINIO_ROOT_USER": _ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": _SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        server = Process(place, [program, "server", *addresses, str(data)], environment)
        with running(server):
            started = MinioServer(
                f"http://127.0.0.1:{port}",
                _ACCESS_KEY,
                _SECRET_KEY,
                queue_dir,
                place.folder,
                server,
            )
            started.wait()
            yield started


def _is_ready(first: bytes | None) -> bool | None:
    return True if first and b" 200 " in first else None


def find_program(variables: Mapping[str, str]) -> str:
    """Find MinIO's program.

    Args:
        variables: See `minio`.

    Raises:
        ConfigurationError: There is none; the message says what to do.
    """
    named = variables.get("MINIO_BIN")
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigurationError(f"MINIO_BIN={named!r} is no program that can be run")
        return str(Path(named).resolve())
    program = shutil.which("minio", path=variables.get("PATH"))
    if program is None:
        raise ConfigurationError(
            "minio is not installed: MINIO_BIN has to name its program, or the PATH to lead to it "
            "(releases: https://github.com/minio/minio)"
        )
    return program
