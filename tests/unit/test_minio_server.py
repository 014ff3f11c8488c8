"""Without MinIO's program, who needs it is told what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers.errors import ConfigurationError
from ops.servers.minio import minio


def test_a_program_that_is_nowhere_has_to_be_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="MINIO_BIN has to name its program"),
        minio({"PATH": str(tmp_path)}),
    ):
        pass


def test_what_is_named_has_to_be_a_program(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"MINIO_BIN='.*' is no program that can be run"),
        minio({"MINIO_BIN": str(tmp_path / "minio")}),
    ):
        pass
