"""Build dropscribe's wheel: the same tree gives the same bytes.

    build_wheel.py SOURCE FOLDER

Prints the wheel's path. A wheel that was built of the same tree is there already, in
``FOLDER/{digest of the tree}/``, and is not built again. The build happens in a copy, so
that nothing is left in the tree, and nothing that lay in it gets into the wheel.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg")
_PACKAGES = ("consumers", "events", "ops")
_LEFT_OUT = {"__pycache__", "ansible"}

#: The first moment that a zip archive can tell.
_EPOCH = "315532800"


def main(source: Path, folder: Path) -> Path:
    """Return the wheel of a tree."""
    names = sorted(_sources(source))
    place = folder / _digest(source, names)
    for wheel in place.glob("*.whl"):
        return wheel
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        copy, built = Path(temporary, "tree"), Path(temporary, "wheel")
        for name in names:
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)
            target.chmod(0o644)
        _build(copy, built)
        # Who comes second finds it there.
        if not place.exists():
            built.rename(place)
    return next(place.glob("*.whl"))


def _sources(source: Path) -> Iterator[Path]:
    yield from (Path(name) for name in _FILES)
    for package in _PACKAGES:
        for path in (source / package).rglob("*"):
            name = path.relative_to(source)
            if path.is_file() and not _LEFT_OUT.intersection(name.parts):
                yield name


def _digest(source: Path, names: list[Path]) -> str:
    digest = hashlib.sha256()
    for name in names:
        content = hashlib.sha256((source / name).read_bytes()).hexdigest()
        digest.update(f"{content}  {name.as_posix()}\n".encode())
    return digest.hexdigest()


def _build(tree: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), "."]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the wheel cannot be built:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    print(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2])))  # noqa: T201
