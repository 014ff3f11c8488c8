"""Named queries: ``sql/*.sql`` has each under a line ``-- name: its_name``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def queries() -> Mapping[str, LiteralString]:
    """All queries by name."""
    found: dict[str, LiteralString] = {}
    folder = files("consumers.database") / "sql"
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        parts = _NAME.split(path.read_text(encoding="utf-8"))
        # These are our own files, so their text may count as literal SQL.
        found.update(zip(parts[1::2], cast("list[LiteralString]", parts[2::2]), strict=True))
    return MappingProxyType(found)
