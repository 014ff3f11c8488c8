"""Running ``dropscribe`` as a person does: by its name, with next to nothing around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

DROPSCRIBE = (sys.executable, "-m", "ops")

#: No ffmpeg and nothing else: only the interpreter is called, by its path.
BARE = {"PATH": "/nonexistent", "HOME": os.environ.get("HOME", "/")}


def run(
    *arguments: str, timeout: float = 240, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DROPSCRIBE, *arguments],
        env={**BARE, **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def leftovers(temporary: Path) -> list[str]:
    """What still runs, or lies about, of a run whose temporary folder this was."""
    files = [path.name for path in temporary.iterdir()]
    processes = [
        " ".join(process.cmdline())
        for process in psutil.process_iter()
        if _belongs_to(process, temporary)
    ]
    return files + processes


def _belongs_to(process: psutil.Process, temporary: Path) -> bool:
    try:
        told = process.environ().get("TMPDIR") == str(temporary)
        return told or any(str(temporary) in part for part in process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


@contextmanager
def started(
    arguments: Sequence[str], temporary: Path, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*DROPSCRIBE, *arguments],
        env={**BARE, "TMPDIR": str(temporary), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process that a shell runs in the background ignores Ctrl-C, and so would its children.
        restore_signals=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_gone(temporary: Path, seconds: float = 20) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := leftovers(temporary)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def settings_printed(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    variables: dict[str, Any] = {}
    for line in process.stdout:
        name, value = line.removeprefix("export ").rstrip("\n").split("=", 1)
        variables[name] = value.strip("'")
        if name == "WHISPER_MODEL":
            return variables
    _, errors = process.communicate()
    raise AssertionError(f"the stack did not come up: {errors}")
