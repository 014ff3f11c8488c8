"""A process whose clock is wrong, by Debian's ``libfaketime``.

``python -m tests.harness.faults.clock MODULE ARGUMENT...`` runs a module as ``python -m`` does, in
a process that has the variables of `one_hour_off` and sleeps all the same.
"""

from __future__ import annotations

import runpy
import sys
import threading
import time
from pathlib import Path
from typing import SupportsIndex

from consumers.errors import ConfigurationError

_LIBRARIES = Path("/usr/lib")
_LIBRARY = "*/faketime/libfaketime.so.1"
_INSTALL = "apt-get install faketime"


def one_hour_off(*, ahead: bool) -> dict[str, str]:
    """Give the variables that set a process's time of day wrong, and no other clock.

    Raises:
        ConfigurationError: libfaketime is not installed.
    """
    library = next(_LIBRARIES.glob(_LIBRARY), None)
    if library is None:
        raise ConfigurationError(f"libfaketime is not installed: {_INSTALL}")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": "+1h" if ahead else "-1h",
        # Or timeouts would be wrong, too.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _sleep(seconds: float | SupportsIndex, /) -> None:
    # libfaketime 0.9.10 refuses (EINVAL) the clock_nanosleep by which Python sleeps since 3.11.
    threading.Event().wait(float(seconds))


if __name__ == "__main__":
    time.sleep = _sleep
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
