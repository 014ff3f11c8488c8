"""A process whose time of day is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from consumers.errors import ConfigurationError
from tests.harness.faults.clock import one_hour_off

#: Run by the standard library's own ``timeit``, as a module that takes a statement.
TELL = """
import time
before = time.monotonic()
time.sleep(0.2)
print(time.time(), time.monotonic() - before)
"""


@pytest.mark.parametrize("ahead", [True, False])
def test_a_shifted_clock_keeps_its_pace(ahead: bool) -> None:
    now = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "tests.harness.faults.clock", "timeit", "-n", "1", "-r", "1", TELL],
        env={**os.environ, **one_hour_off(ahead=ahead)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    told, slept = (float(word) for word in done.stdout.split()[:2])

    assert told - now == pytest.approx(3600 if ahead else -3600, abs=30)
    assert 0.15 < slept < 5


def test_the_missing_library_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.harness.faults.clock._LIBRARIES", tmp_path)

    with pytest.raises(ConfigurationError, match=r"not installed: apt-get install faketime$"):
        one_hour_off(ahead=True)
