"""The contract of every broker for messages that crash their consumers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.contracts.loop import Queues
from tests.harness.polling import eventually

ROOT = Path(__file__).parents[2]

#: The losses at which a message is given up.
LIMIT = 3


class PoisonedQueues(Queues, Protocol):
    """The route's queues, and a program that consumes from them."""

    def consumer(self, group: int) -> list[str]:
        """Arguments of Python for a `tests.contracts.mortal` consumer with that `LIMIT`."""

    def dead_count(self) -> int:
        """Count the dead letters."""


@contextmanager
def consumer(argv: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        output.open("ab") as file,
        subprocess.Popen(
            [sys.executable, *argv], cwd=ROOT, stdout=file, stderr=subprocess.DEVNULL
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


class PoisonContract:
    """Inherit it, and provide a fixture ``queues`` whose broker keeps to `LIMIT`."""

    @pytest.mark.parametrize("group", [1, 4])
    def test_a_message_that_kills_consumers_is_dead_lettered_and_others_finish(
        self, queues: PoisonedQueues, tmp_path: Path, group: int
    ) -> None:
        output = tmp_path / "done"
        output.touch()
        names = ["a", "b", "poison", "c", "d", "e"]
        deaths = 0
        queues.send(*())  # A test event of no object, as stores send.
        for name in names:
            queues.send(f"archives/{name}.tar")
        end = time.monotonic() + 480
        while not queues.dead_count() and time.monotonic() < end:
            with consumer(queues.consumer(group), output) as process:
                while process.poll() is None and not queues.dead_count():
                    time.sleep(0.05)
                deaths += process.poll() is not None
        with consumer(queues.consumer(group), output):
            done = {f"archives/{name}.tar" for name in names if name != "poison"}
            eventually(lambda: done <= set(output.read_text().split()), 60)
        letters = queues.dead()
        assert letters
        # Killed between the letter and the ack, a consumer leaves both.
        for letter in letters:
            assert letter["reason"] == "lost"
            assert "archives/poison.tar" in letter["body"]
        # People find it on record, too.
        assert set(output.read_text().split()) == {*done, "given-up:archives/poison.tar"}
        # A neighbour that is taken for the poison costs the poison's own count.
        assert LIMIT <= deaths <= LIMIT + len(names)
