"""What a server has left in the machine."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import psutil


def processes(folder: Path) -> list[psutil.Process]:
    """Find the processes of a folder: their working directory, home or argument."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and _is_of(process, folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _is_of(process: psutil.Process, folder: Path) -> bool:
    return (
        Path(process.cwd()).is_relative_to(folder)
        or process.environ().get("HOME") == str(folder)
        or str(folder) in process.cmdline()
    )


def eventually_gone(folder: Path) -> bool:
    for _ in range(200):
        if not processes(folder) and not folder.exists():
            return True
        time.sleep(0.05)
    return False


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
