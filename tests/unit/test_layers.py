"""``events`` is pure."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

EVENTS = Path(__file__).parents[2] / "events"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_events_needs_nothing_but_the_standard_library() -> None:
    modules = {name for path in EVENTS.glob("*.py") for name in imported(path)}
    assert "json" in modules
    assert modules - {"events"} <= sys.stdlib_module_names
