"""What is installed is ours, and whole. For tox, which installs a wheel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ["events", "consumers", "ops"]

#: Asked away from this folder, so that Python finds what is installed.
QUESTION = """
import importlib, json, sys
from importlib.metadata import distribution
ours = distribution("dropscribe")
print(json.dumps({
    "files": [str(file) for file in ours.files],
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


def test_the_wheel_holds_the_three_packages_and_no_tests(installed: Any) -> None:
    top_level = {Path(file).parts[0] for file in installed["files"] if file.endswith(".py")}
    assert top_level == set(PACKAGES)


def test_the_wheel_holds_what_is_not_code(installed: Any) -> None:
    root = Path(__file__).parents[2]
    needed = [
        root / "ops/sample/sample.tar",
        root / "ops/policies/thresholds.toml",
        *root.glob("ops/policies/*.md"),
        *root.glob("consumers/database/*/*.sql"),
    ]
    assert len(needed) > 8
    assert set(installed["files"]).issuperset(str(file.relative_to(root)) for file in needed)


def test_each_top_level_package_is_ours_and_not_another_distributions(installed: Any) -> None:
    """They have common names: whoever comes first on the path is found."""
    site = Path(installed["site"])
    assert {name: Path(file) for name, file in installed["found"].items()} == {
        name: site / name / "__init__.py" for name in PACKAGES
    }
