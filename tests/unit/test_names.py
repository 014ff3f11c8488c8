"""Names: a public type has one, and the names of tests are sentences of their own."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Ansible looks for a class of this name in each of its plug-ins.
BY_ANSIBLE = {"FilterModule"}

#: Words by which a name continues that of the test before it.
CONTINUATIONS = ("test_and_", "test_but_", "test_nor_")


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def types(module: ast.Module) -> Iterator[str]:
    """Name the public classes of a module, and the aliases of types that it gives a name."""
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and _is_alias(target.id, node.value):
                    yield target.id


def _is_alias(name: str, value: ast.expr | None) -> bool:
    is_type = name[0].isupper() and not name.isupper()
    return is_type and isinstance(value, ast.Subscript | ast.BinOp)


def test_each_public_type_has_a_name_of_its_own() -> None:
    places = defaultdict(list)
    for path, module in modules("events", "consumers", "ops", "tests"):
        if path.name.startswith("test_"):
            continue
        for name in types(module):
            if not name.startswith("_") and name not in BY_ANSIBLE:
                places[name].append(str(path))
    assert len(places) > 200
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_no_test_continues_the_name_of_another() -> None:
    names = [
        (path, node.name)
        for path, module in modules("tests")
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 1000
    assert [each for each in names if each[1].startswith(CONTINUATIONS)] == []
