"""The embedded servers, and a bucket, queues and a database of its own for each test."""

from __future__ import annotations

import json
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
import structlog
from click.testing import CliRunner, Result
from psycopg import sql

from consumers.archive import ArchiveLimits
from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.pool import TranscoderPool
from consumers.database.batches import BatchRepository
from consumers.database.migrate import migrate
from consumers.policy.judge import Judge
from consumers.policy.policy import read_policies
from consumers.runtime.handler import Handler
from consumers.runtime.loop import Loop, Stop
from consumers.stages.completion import Completion
from consumers.stages.moderate import Moderate, ModerationCriteria
from consumers.stages.stage_handler import StageContext
from consumers.stages.transcribe import Transcribe
from consumers.stages.unpack import Unpack
from consumers.store import Store
from consumers.store.scratch import Scratch
from events.keys import BatchId
from events.routes import route_named
from ops.bootstrap import bootstrap
from ops.cli.batch_progress import BatchProgress, look
from ops.cli.main import main
from ops.embedded.stack import servers
from ops.ingest.drop import drop_archive
from ops.wiring.adapters import (
    Adapters,
    make_store,
    open_database,
    open_inbox,
    utc_now,
)
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import ModerationSettings
from tests.harness.deployment.stand_ins import LengthRecogniser, WordJudge
from tests.harness.polling import eventually

T = TypeVar("T")

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def embedded() -> Iterator[dict[str, str]]:
    """Moto's S3 and SQS, and PostgreSQL."""
    with servers(os.environ) as running:
        variables = dict(running.variables)
        with psycopg.connect(variables["DATABASE_URL"], autocommit=True) as connection:
            # No test cuts the power, and each makes and drops a database: two checkpoints.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE template_dropscribe")
        migrate(_database_url(variables["DATABASE_URL"], "template_dropscribe"))
        yield variables


def _database_url(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?", 1)


@pytest.fixture(scope="session", autouse=True)
def short_polls() -> Iterator[None]:
    """Ask the queues often rather than wait at them: a consumer ends a second sooner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("consumers.broker.sqs_inbox._LONG_POLL", 0)
        yield


@pytest.fixture
def variables(embedded: dict[str, str]) -> Iterator[dict[str, str]]:
    """Settings that reach a bucket, queues and a database of this test's own."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    database = sql.Identifier(name)
    with psycopg.connect(embedded["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template_dropscribe").format(database)
        )
        yield {
            **embedded,
            "S3_BUCKET": name,
            "BROKER_PREFIX": name,
            "DATABASE_URL": _database_url(embedded["DATABASE_URL"], name),
        }
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


@pytest.fixture
def environment(variables: dict[str, str]) -> Environment:
    """The same, bootstrapped."""
    environment = Environment(variables)
    list(bootstrap(environment))
    return environment


@pytest.fixture
def run(variables: dict[str, str]) -> Run:
    """Run ``dropscribe`` with this test's settings."""

    def run(*arguments: str, **others: str) -> Result:
        return CliRunner().invoke(main, arguments, env={**variables, **others})

    return run


@pytest.fixture
def store(environment: Environment) -> Store:
    """The bucket."""
    return make_store(environment)


@pytest.fixture
def database(environment: Environment) -> Iterator[BatchRepository]:
    """The tables."""
    with open_database(environment, connections=16) as database:
        yield database


@pytest.fixture
def scratch_root(tmp_path: Path) -> Path:
    """Scratch space; nothing must be left in it."""
    root = tmp_path / "scratch"
    root.mkdir()
    return root


@pytest.fixture(scope="session")
def transcoders() -> Iterator[TranscoderPool]:
    """Warm transcoding processes."""
    with TranscoderPool(2, OpusSettings(), MediaLimits()) as pool:
        yield pool


class Pipeline:
    """Consumers in threads of this process, with their store and database."""

    def __init__(
        self,
        environment: Environment,
        store: Store,
        database: BatchRepository,
        transcoders: TranscoderPool,
        scratch_root: Path,
    ) -> None:
        self.environment = environment
        self.store = store
        self.database = database
        self.scratch_root = scratch_root
        self.transcoders = transcoders
        self.recogniser = LengthRecogniser()
        self.judge: Judge = WordJudge()
        self.limits = ArchiveLimits()
        # Commands print to standard output.
        self.log: Any = structlog.wrap_logger(structlog.PrintLogger(sys.__stderr__))
        self.open = ExitStack()
        self._stop = Stop()
        self._threads: list[threading.Thread] = []

    @property
    def context(self) -> StageContext:
        return StageContext(self.store, self.database, self.log)

    @property
    def completion(self) -> Completion:
        return Completion(self.store, self.database, self.log)

    def unpack(self) -> Unpack:
        """Make the route's handler."""
        return Unpack(
            self.context,
            transcoders=self.transcoders,
            scratch=Scratch(self.scratch_root),
            limits=self.limits,
            threads=2,
        )

    def transcribe(self, group: int = 8) -> Transcribe:
        """Make the route's handler."""
        return Transcribe(
            self.context,
            recogniser=self.recogniser,
            scratch=Scratch(self.scratch_root),
            group=group,
        )

    def moderate(self, group: int = 8) -> Moderate:
        """Make the route's handler, with the policies that are set up."""
        root = ModerationSettings.read(self.environment).policies_root
        assert root is not None
        return Moderate(
            self.context,
            judge=self.judge,
            criteria=ModerationCriteria(partial(read_policies, root), ("en",), window=60.0),
            group=group,
        )

    def review(self, **settings: str) -> Handler:
        """Make the route's handler."""
        variables = {**self.environment._variables, "SCRATCH_ROOT": str(self.scratch_root)}
        environment = Environment({**variables, **settings})
        handler = PIPELINE["review"].open_handler(environment, Adapters(), self.log)
        return self.open.enter_context(handler)

    def start(
        self,
        *,
        unpackers: int = 1,
        transcribers: int = 1,
        moderators: int = 0,
        reviewers: int = 1,
    ) -> None:
        """Run consumers."""
        loops: list[tuple[str, Handler]] = [("unpack", self.unpack()) for _ in range(unpackers)]
        loops += [("transcribe", self.transcribe()) for _ in range(transcribers)]
        loops += [("moderate", self.moderate()) for _ in range(moderators)]
        loops += [("review", self.review()) for _ in range(reviewers)]
        for name, handler in loops:
            loop = Loop(
                route=route_named(name),
                handler=handler,
                open_inbox=open_inbox(self.environment, route_named(name)),
                log=self.log,
                delays=(1.0, 1.0, 1.0),
            )
            thread = threading.Thread(target=loop.run, args=(self._stop,))
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End them."""
        self._stop.asked.set()
        for thread in self._threads:
            thread.join()
        self.open.close()

    def drop(self, archive: Path) -> BatchId:
        """Drop an archive into the bucket."""
        return drop_archive(self.store, archive, now=utc_now(), host="field-recorder")

    def run(self, archive: Path) -> BatchProgress:
        """Drop an archive, and wait until nothing more happens to its batch."""
        return self.wait(self.drop(archive))

    def wait(self, batch: BatchId, seconds: float = 60.0) -> BatchProgress:
        """Wait until nothing more happens to a batch."""
        return eventually(
            lambda: progress if (progress := look(self.database, batch)).is_over else None, seconds
        )

    def left_in_scratch(self) -> list[Path]:
        """List the files in scratch."""
        return list(self.scratch_root.iterdir())


@pytest.fixture
def pipeline(
    environment: Environment,
    store: Store,
    database: BatchRepository,
    transcoders: TranscoderPool,
    scratch_root: Path,
) -> Iterator[Pipeline]:
    """A pipeline that is ready to be started."""
    with ExitStack() as stack:
        pipeline = Pipeline(environment, store, database, transcoders, scratch_root)
        stack.callback(pipeline.stop)
        yield pipeline


def printed(result: Result) -> Any:
    """Read the JSON that a command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
