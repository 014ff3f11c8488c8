"""Compile a release's modules, but those that the running release has in the same form.

    compile_release.py RELEASE RUNNING

Releases share the files of equal packages (uv's hard links), and so they can share what these
are compiled to. A file that is not the same one is compiled: equal times and sizes prove nothing.
"""

from __future__ import annotations

import compileall
import sys
from importlib.util import cache_from_source
from pathlib import Path


def main(release: Path, running: Path) -> None:
    """Compile all that is not shared."""
    if running.is_dir():
        _share(release, running.resolve())
    # Templates and examples of packages may have no valid syntax, which is no failure.
    compileall.compile_dir(str(release / "lib"), quiet=2, workers=0)


def _share(release: Path, running: Path) -> None:
    for source in (release / "lib").rglob("*.py"):
        other = running / source.relative_to(release)
        compiled, shared = (Path(cache_from_source(str(each))) for each in (source, other))
        if other.exists() and other.samefile(source) and shared.exists():
            compiled.parent.mkdir(exist_ok=True)
            compiled.unlink(missing_ok=True)
            compiled.hardlink_to(shared)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
