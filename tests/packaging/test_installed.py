"""The installed wheel is ours, complete, and nothing more. For tox, which installs a wheel.

Pytest runs in the checkout and imports dropscribe from there, so these tests also compare
the two: what passes in the checkout then passes in the wheel.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ["events", "consumers", "ops"]

#: The extras for a checkout.
FOR_TESTS = ("soak", "bench", "test", "dev")

#: Runs outside the checkout, so that Python finds the installed packages.
QUESTION = """
import importlib, json, sys
from importlib.metadata import distribution
ours = distribution("dropscribe")
print(json.dumps({
    "files": [str(file) for file in ours.files],
    "requires": ours.requires,
    "site": str(ours.locate_file("")),
    "found": {name: importlib.import_module(name).__file__ for name in sys.argv[1:]},
}))
"""


@pytest.fixture(scope="module")
def installed() -> Any:
    answer = subprocess.run(
        [sys.executable, "-I", "-c", QUESTION, *PACKAGES],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    return json.loads(answer.stdout)


def modules(installed: Any) -> list[str]:
    return [file for file in installed["files"] if file.endswith(".py")]


def required(installed: Any, extra: str = "") -> set[str]:
    """Name the distributions that come with dropscribe, or only with one of its extras."""
    requirements = [Requirement(line) for line in installed["requires"]]
    return {
        canonicalize_name(each.name)
        for each in requirements
        if each.name != "dropscribe" and _applies(each, extra)
    }


def _applies(requirement: Requirement, extra: str) -> bool:
    if extra:
        return f'extra == "{extra}"' in str(requirement.marker)
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_the_wheel_holds_three_packages_and_no_test_or_benchmark(installed: Any) -> None:
    assert {Path(file).parts[0] for file in modules(installed)} == set(PACKAGES)
    folders = {part for file in modules(installed) for part in Path(file).parts[:-1]}
    assert not folders & {"tests", "bench", "soak", "harness", "servers", "faults"}


def test_the_wheel_needs_nothing_that_only_tests_need(installed: Any) -> None:
    of_tests = {name for extra in FOR_TESTS for name in required(installed, extra)}
    assert {"psutil", "celery", "pytest", "mypy"} <= of_tests
    assert not required(installed) & of_tests
    imports = {name for file in modules(installed) for name in imported(ROOT / file)}
    assert not imports & {"tests", *(name.replace("-", "_") for name in of_tests)}


def test_the_wheel_holds_the_modules_of_the_checkout(installed: Any) -> None:
    site = Path(installed["site"])
    of_checkout = [
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if (path.parent / "__init__.py").exists()
    ]
    assert {path.relative_to(ROOT) for path in of_checkout} == {
        Path(file) for file in modules(installed)
    }
    for path in of_checkout:
        assert (site / path.relative_to(ROOT)).read_bytes() == path.read_bytes(), path


def test_the_wheel_holds_files_other_than_code(installed: Any) -> None:
    needed = [
        ROOT / "ops/sample/sample.tar",
        ROOT / "ops/policies/thresholds.toml",
        *ROOT.glob("ops/policies/*.md"),
        *ROOT.glob("consumers/database/*/*.sql"),
    ]
    assert len(needed) > 8
    assert set(installed["files"]).issuperset(str(file.relative_to(ROOT)) for file in needed)


def test_each_top_level_package_is_ours_and_not_another_distributions(installed: Any) -> None:
    """They have common names: whoever comes first on the path is found."""
    site = Path(installed["site"])
    assert {name: Path(file) for name, file in installed["found"].items()} == {
        name: site / name / "__init__.py" for name in PACKAGES
    }
