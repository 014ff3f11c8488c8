"""The work of all routes on one archive, in one process after another until one outlives it.

``python -m tests.selftest.dying_consumer BATCH`` works by the settings of the
environment, and prints how its processes ended: ``["SIGKILL", "SIGKILL", "done"]``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import structlog

from events.event import ObjectCreated
from events.keys import BatchId
from ops.wiring.adapters import make_store
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from tests.harness.deployment.consumer import mortal
from tests.harness.faults.death import Deaths

#: More lives than deaths are allowed: a fault that kills for ever must not hang.
_LIVES = 50


def work(environment: Environment, batch: BatchId, deaths: Deaths) -> None:
    """Do the work of each route, as if its events had just come."""
    log = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    store = make_store(environment)
    adapters = mortal(deaths)
    for route in PIPELINE.routes_of(environment):
        stored = [batch.archive_key, *store.keys(batch.prefix)]
        events = [created(store.bucket, key) for key in stored if route.matches(key)]
        with PIPELINE[route.name].open_handler(environment, adapters, log) as handler:
            check(adapters.handler(handler).handle(events))


def created(bucket: str, key: str) -> ObjectCreated:
    return ObjectCreated(
        bucket=bucket, key=key, size=None, etag=None, time=None, sequencer=None, source="ceph"
    )


def check(outcomes: Sequence[Exception | None]) -> None:
    for error in outcomes:
        if error is not None:
            raise error


def live(batch: BatchId, variables: dict[str, str], deaths: Deaths) -> str:
    """Do the work in a child process, and return how that ended."""
    # This process has no threads and no connections: its children start afresh,
    # without importing everything again.
    if not (pid := os.fork()):
        work(Environment(variables), batch, deaths)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else "done" if not code else f"failed: {code}"


def main(batch: BatchId) -> None:
    deaths = Deaths.from_variables(os.environ)
    assert deaths is not None
    lives: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        while len(lives) < _LIVES and lives[-1:] in ([], ["SIGKILL"]):
            lives.append(live(batch, {**os.environ, "SCRATCH_ROOT": scratch}, deaths))
        assert not any(Path(scratch).rglob("*")), "scratch is not empty"
    sys.stdout.write(json.dumps(lives))


if __name__ == "__main__":
    main(BatchId(sys.argv[1]))
