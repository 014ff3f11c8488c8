"""The work of both routes on one archive, in one process after another until one outlives it.

``python -m tests.servers.dying_consumer BATCH`` works by the settings of the
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

from consumers.archive import ArchiveLimits
from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.pool import TranscoderPool
from consumers.completion import Completion
from consumers.convert import Converter
from consumers.scratch import Scratch
from consumers.transcribe import Transcribe
from consumers.unpack import Unpack
from events.event import ObjectCreated
from events.keys import OPUS, BatchId
from ops.composition import make_store, open_database
from ops.environment import Environment
from ops.faults.death import Deaths
from ops.faults.dying import (
    DyingDatabase,
    DyingHandler,
    DyingRecogniser,
    DyingStore,
    DyingTranscoders,
)
from ops.soak.recogniser import LengthRecogniser

#: More lives than deaths are allowed: a fault that kills for ever must not hang.
_LIVES = 50


def work(environment: Environment, batch: BatchId, scratch_root: Path, deaths: Deaths) -> None:
    """Do what both routes have to do, each as if its events had just come."""
    log = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    store = DyingStore(make_store(environment), deaths)
    scratch = Scratch(scratch_root)
    with (
        open_database(environment) as opened,
        TranscoderPool(1, OpusSettings(), MediaLimits()) as pool,
    ):
        database = DyingDatabase(opened, deaths)
        completion = Completion(store, database, log)
        unpack = Unpack(
            store=store,
            database=database,
            completion=completion,
            converter=Converter(store, DyingTranscoders(pool, deaths), scratch),
            scratch=scratch,
            limits=ArchiveLimits(),
            threads=1,
            log=log,
        )
        transcribe = Transcribe(
            store=store,
            database=database,
            completion=completion,
            recogniser=DyingRecogniser(LengthRecogniser(), deaths),
            scratch=scratch,
            group=8,
            log=log,
        )
        check(DyingHandler(unpack, deaths).handle([created(store.bucket, batch.archive_key)]))
        stored = [key for key in store.keys(f"{batch.prefix}-") if key.endswith(OPUS)]
        events = [created(store.bucket, key) for key in stored]
        check(DyingHandler(transcribe, deaths).handle(events))


def created(bucket: str, key: str) -> ObjectCreated:
    return ObjectCreated(
        bucket=bucket, key=key, size=None, etag=None, time=None, sequencer=None, source="ceph"
    )


def check(outcomes: Sequence[Exception | None]) -> None:
    for error in outcomes:
        if error is not None:
            raise error


def live(batch: BatchId, scratch: Path, deaths: Deaths) -> str:
    """Do the work in a process of its own, and say how that ended."""
    # This process has no threads and no connections: what it forks starts afresh,
    # without importing everything again.
    if not (pid := os.fork()):
        work(Environment(os.environ), batch, scratch, deaths)
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
            lives.append(live(batch, Path(scratch), deaths))
    sys.stdout.write(json.dumps(lives))


if __name__ == "__main__":
    main(BatchId(sys.argv[1]))
