"""A real MinIO, by its own program: there is no Debian package of it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from consumers.errors import ConfigurationError
from tests.harness.servers.grounds import grounds
from tests.harness.servers.process import Process, answer, running, wait_until
from tests.harness.servers.store import StoreServer, store_settings

_ACCESS_KEY = "dropscribe"
_SECRET_KEY = secrets.token_hex(20)


class MinioServer(StoreServer):
    """A running server with one disk."""

    __slots__ = ()

    def wait(self) -> None:
        """Wait until it answers."""
        request = b"GET /minio/health/ready HTTP/1.0\r\n\r\n"
        wait_until(
            lambda: _is_ready(answer(self.port, request)), [self._process], "the start of minio"
        )


@contextmanager
def minio(variables: Mapping[str, str]) -> Iterator[MinioServer]:
    """Run a server while the block runs; ``MINIO_BIN``, or the PATH, leads to its program."""
    program = find_program(variables)
    with grounds("minio", ports=2) as place:
        port, console = place.ports
        data = place.folder / "data"
        data.mkdir()
        addresses = ["--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console}"]
        environment = {
            **place.environment,
            "MINIO_ROOT_USER": _ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": _SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        server = Process(place, [program, "server", *addresses, str(data)], environment)
        with running(server):
            settings = {
                **store_settings(f"http://127.0.0.1:{port}", _ACCESS_KEY, _SECRET_KEY),
                "STORE_QUEUE_DIR": str(place.folder / "events"),
            }
            started = MinioServer(settings, place.folder, server)
            started.wait()
            yield started


def _is_ready(first: bytes | None) -> bool | None:
    return True if first and b" 200 " in first else None


def find_program(variables: Mapping[str, str]) -> str:
    """Find MinIO's program.

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
