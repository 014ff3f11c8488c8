"""A real PostgreSQL: Debian's server, whichever version is installed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from consumers.errors import ConfigurationError
from tests.harness.certificates import certify
from tests.harness.servers.grounds import Grounds, grounds
from tests.harness.servers.process import Process, RestartableServer, running, wait_until

_INSTALL = "apt-get install --no-install-recommends postgresql"

#: Debian has a folder for each major version here, and none of its programs on the PATH.
_VERSIONS = Path("/usr/lib/postgresql")

#: A superuser.
_USER = "dropscribe"

_CONFIG = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
# In the server's own folder, and so gone with it.
dynamic_shared_memory_type = mmap
ssl = {tls}
ssl_cert_file = '{folder}/postgres.pem'
ssl_key_file = '{folder}/postgres-key.pem'
"""

_ACCESS = "{kind} all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class PostgresServer(RestartableServer):
    """A running server.

    Attributes:
        port: On 127.0.0.1; the same after a restart.
        folder: With its data and log; removed at the end.
        ca_file: What its certificate has to be signed by; None where it does without TLS.
    """

    port: int
    folder: Path
    ca_file: Path | None
    _password: str = field(repr=False)
    _process: Process = field(repr=False)

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Reach a database as the superuser, verifying the server's certificate by TLS.

        Args:
            port: The port of a relay to this server.
        """
        authority = f"{_USER}:{self._password}@127.0.0.1:{port or self.port}"
        address = f"postgresql://{authority}/{quote(database, safe='')}"
        if self.ca_file is None:
            return address
        return f"{address}?{urlencode({'sslmode': 'verify-full', 'sslrootcert': self.ca_file})}"

    def database(self, template: str = "template1") -> str:
        """Make a database, and give its URL.

        Args:
            template: The database to copy, which must have no connections.
        """
        name = f"test-{uuid.uuid4().hex[:12]}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def stop(self) -> None:
        """Shut it down in order at once: open transactions are rolled back."""
        # By SIGTERM it would wait until the last client has gone.
        self._process.stop(signal.SIGINT)

    def wait(self) -> None:
        """Wait until it takes connections."""
        wait_until(self._answers, [self._process], f"the start of PostgreSQL on {self.port}")

    def _answers(self) -> bool | None:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url(), connect_timeout=2).close()
            return True
        return None


@contextmanager
def postgres(
    config: Mapping[str, str | int] | None = None, *, tls: bool = False
) -> Iterator[PostgresServer]:
    """Run a server while the block runs.

    It keeps its promises (a commit waits for the disk, 0.2 ms here), but for the
    folder's first content, which is not flushed.

    Args:
        config: Lines of ``postgresql.conf``, such as ``{"max_connections": 20}``.
    """
    programs = _programs()
    # It refuses to run as root; its files must then belong to its own user.
    user = "postgres" if os.geteuid() == 0 else None
    password = secrets.token_hex(16)
    with grounds("postgres", ports=1) as place:
        folder, data = place.folder, place.folder / "data"
        ca_file = _write_folder(folder, password, tls=tls)
        place.give_to(user)
        # Orphaned, it ends by a signal that lets it take back its shared memory.
        environment = {**place.environment, "TZ": "UTC"}
        program = partial(
            Process, place, environment=environment, user=user, orphaned=signal.SIGQUIT
        )
        with running(program([str(programs / "initdb"), *_initdb(folder)])) as initdb:
            initdb.finish()
        _configure(place, config or {}, tls=tls)
        server = program([str(programs / "postgres"), "-D", str(data)])
        started = PostgresServer(place.ports[0], folder, ca_file, password, server)
        with running(server):
            try:
                started.wait()
                yield started
            finally:
                _end(server, data)


def _programs() -> Path:
    """Find the youngest version's folder.

    Raises:
        ConfigurationError: There is none.
    """
    found = [path for path in _VERSIONS.glob("*/bin") if (path / "initdb").exists()]
    if not found:
        raise ConfigurationError(f"PostgreSQL is not installed: {_INSTALL}")
    return max(found, key=lambda path: int(path.parent.name))


def _initdb(folder: Path) -> list[str]:
    who = ["--username", _USER, "--pwfile", str(folder / "password")]
    what = ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"]
    return ["--pgdata", str(folder / "data"), "--no-sync", *who, *what]


def _write_folder(folder: Path, password: str, *, tls: bool) -> Path | None:
    """Write the files that `initdb` and the server read; returns the certificate's path."""
    word = folder / "password"
    word.touch(mode=0o600)
    word.write_text(password)
    if not tls:
        return None
    certificate, key = certify(folder, "postgres")
    key.chmod(0o600)
    return certificate


def _configure(place: Grounds, config: Mapping[str, str | int], *, tls: bool) -> None:
    folder, (port,) = place.folder, place.ports
    quoted = {name: str(value).replace("'", "''") for name, value in config.items()}
    options = [f"{name} = '{value}'\n" for name, value in quoted.items()]
    text = _CONFIG.format(port=port, folder=folder, tls="on" if tls else "off")
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write(text + "".join(options))
    access = _ACCESS.format(kind="hostssl" if tls else "host")
    (folder / "data" / "pg_hba.conf").write_text(access)


def _end(server: Process, data: Path) -> None:
    """End it at once, and take back the shared memory that a killed one leaves in the kernel."""
    if server.exit_code is None:
        server.stop(signal.SIGQUIT)
    # It removes this file when it ends by itself. The seventh line is the key and the id
    # of its segment.
    with suppress(FileNotFoundError, IndexError):
        segment = (data / "postmaster.pid").read_text().splitlines()[6].split()[1]
        subprocess.run(["ipcrm", "--shmem-id", segment], capture_output=True, check=False)
