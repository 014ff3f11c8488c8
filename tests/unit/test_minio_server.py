"""MinIO's program is found, started and ended, or whoever needs it is told what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import urllib3
from urllib3.exceptions import HTTPError

from consumers.errors import ConfigurationError
from tests.harness.servers.minio import minio


def test_a_program_that_is_nowhere_has_to_be_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="MINIO_BIN has to name its program"),
        minio({"PATH": str(tmp_path)}),
    ):
        pass


def test_minio_bin_has_to_name_a_program(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"MINIO_BIN='.*' is no program that can be run"),
        minio({"MINIO_BIN": str(tmp_path / "minio")}),
    ):
        pass


#: Takes MinIO's arguments, and answers every request with the last path that was ever PUT.
_STAND_IN = """\
#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

address, kept = sys.argv[sys.argv.index("--address") + 1], Path(sys.argv[-1]) / "kept"

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(kept.read_bytes() if kept.exists() else b"nothing")

    def do_PUT(self):
        kept.write_text(self.path)
        self.do_GET()

host, port = address.split(":")
HTTPServer((host, int(port)), Handler).serve_forever()
"""


def test_objects_outlive_a_kill(tmp_path: Path) -> None:
    program = tmp_path / "minio"
    program.write_text(_STAND_IN.format(python=sys.executable))
    program.chmod(0o700)
    with minio({"MINIO_BIN": str(program)}) as server:
        assert server.settings["S3_ENDPOINT"] == server.endpoint
        assert ask(server.endpoint) == b"nothing"
        ask(f"{server.endpoint}/bucket/key", "PUT")
        server.kill()
        with pytest.raises(HTTPError, match="refused"):
            ask(server.endpoint)
        server.start()
        assert ask(server.endpoint) == b"/bucket/key"
    assert not server.folder.exists()


def ask(url: str, method: str = "GET") -> bytes:
    with urllib3.PoolManager(timeout=5, retries=False) as pool:
        return pool.request(method, url).data
