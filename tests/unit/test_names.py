"""The names of tests are sentences of their own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Words by which a name continues that of the test before it.
CONTINUATIONS = ("test_and_", "test_but_", "test_nor_")


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def test_no_test_continues_the_name_of_another() -> None:
    names = [
        (path, node.name)
        for path, module in modules("tests")
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 1000
    assert [each for each in names if each[1].startswith(CONTINUATIONS)] == []
