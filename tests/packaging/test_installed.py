"""What is installed is ours, and whole. For tox, which installs a wheel."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

PACKAGES = ("events", "consumers", "ops")


def test_the_wheel_holds_the_three_packages_and_no_tests() -> None:
    files = distribution("dropscribe").files or []
    top_level = {file.parts[0] for file in files if file.suffix == ".py"}
    assert top_level == set(PACKAGES)


def test_the_wheel_holds_what_is_not_code() -> None:
    root = Path(__file__).parents[2]
    names = {str(file) for file in distribution("dropscribe").files or []}
    needed = [root / "ops/sample/sample.tar", *root.glob("consumers/database/*/*.sql")]
    assert len(needed) > 3
    assert names.issuperset(str(file.relative_to(root)) for file in needed)


def test_each_top_level_package_is_ours_and_not_another_distributions() -> None:
    """They have common names; isolated from this folder, Python has to find the installed ones."""
    code = f"import {', '.join(PACKAGES)}; print({', '.join(f'{p}.__file__' for p in PACKAGES)})"
    answer = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    ours = distribution("dropscribe")
    expected = [str(ours.locate_file(f"{package}/__init__.py")) for package in PACKAGES]
    assert answer.stdout.split() == expected
