"""Consumer processes, and the supervisor that restarts them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.servers.grounds import Grounds
from tests.harness.servers.process import Process

#: Variables of this process that consumers get, too.
_PASSED_ON = ("HOME", "LANG", "PATH", "VIRTUAL_ENV")

#: The checkout: consumers run a module of the tests, and the wheel holds none.
_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class FleetConsumer:
    """A consumer in a process of its own."""

    name: str
    process: Process
    scratch: Path

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process.exit_code is None


@dataclass(slots=True)
class Fleet:
    """The consumers of a deployment.

    Attributes:
        folder: For logs.
        scratch: For the consumers' scratch.
        births: The thread that starts them: they end with it.
        variables: Their settings.
        consumers: Those under supervision.
    """

    folder: Path
    scratch: Path
    births: ThreadPoolExecutor
    variables: Mapping[str, str] = field(repr=False)
    consumers: list[FleetConsumer] = field(default_factory=list)
    restarts: int = 0
    _born: int = 0

    def add(self, *routes: str, **settings: str) -> FleetConsumer:
        """Start a consumer of these routes under supervision."""
        consumer = self.start(*routes, **settings)
        self.consumers.append(consumer)
        return consumer

    def start(self, *routes: str, **settings: str) -> FleetConsumer:
        """Start a consumer without supervision."""
        self._born += 1
        name = f"{'-'.join(routes)}-{self._born}"
        folder, scratch = self.folder / name, self.scratch / name
        for each in (folder, scratch):
            each.mkdir(parents=True)
        variables = {
            **{each: os.environ[each] for each in _PASSED_ON if each in os.environ},
            "PYTHONPATH": str(_ROOT),
            "SCRATCH_ROOT": str(scratch),
            "UNPACK_PROCESSES": "1",
            **self.variables,
            **settings,
        }
        process = Process(
            Grounds(folder, (), self.births),
            [sys.executable, "-m", "tests.harness.deployment.consumer", *routes],
            variables,
        )
        process.start()
        return FleetConsumer(name, process, scratch)

    def ended(self, consumer: FleetConsumer, *, seconds: float) -> int | None:
        """Wait until a consumer has ended by itself, and give its exit code; None if it has not."""
        deadline = time.monotonic() + seconds
        while consumer.is_alive and time.monotonic() < deadline:
            time.sleep(0.1)
        return consumer.process.exit_code

    def dismiss(self, consumer: FleetConsumer) -> None:
        """End a consumer by SIGKILL, and do not start it again."""
        if consumer in self.consumers:
            self.consumers.remove(consumer)
        consumer.process.kill()

    def tend(self) -> int:
        """Restart dead consumers, as a supervisor does; return their number."""
        dead = [each for each in self.consumers if not each.is_alive]
        for consumer in dead:
            consumer.process.start()
        self.restarts += len(dead)
        return len(dead)

    def stop(self) -> None:
        """Ask all to end, and wait until they have."""
        for consumer in self.consumers:
            consumer.process.stop()

    def kill(self) -> None:
        """End all by SIGKILL."""
        for consumer in self.consumers:
            consumer.process.kill()

    def left_in_scratch(self) -> Sequence[Path]:
        """List the files in the consumers' scratch."""
        return [
            path
            for consumer in self.consumers
            for path in consumer.scratch.rglob("*")
            if path.is_file()
        ]


@contextmanager
def open_fleet(folder: Path, scratch: Path, variables: Mapping[str, str]) -> Iterator[Fleet]:
    """Run a fleet while the block runs. For the parameters see `Fleet`."""
    with ThreadPoolExecutor(1, "fleet") as births:
        running = Fleet(folder, scratch, births, variables)
        try:
            yield running
        finally:
            running.kill()
