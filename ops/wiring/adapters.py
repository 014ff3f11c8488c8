"""The servers, models and queues that the settings name, opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from consumers.audio.pool import TranscoderPool
from consumers.broker.amqp_inbox import AmqpSettings
from consumers.broker.connect import open_inbox as open_any_inbox
from consumers.broker.topology import Topology
from consumers.database.batches import BatchRepository
from consumers.database.pool import Pool
from consumers.database.pool import open_pool as open_postgres_pool
from consumers.database.review_queue import ReviewQueueRepository
from consumers.policy.judge import Judge
from consumers.runtime.handler import Handler
from consumers.runtime.loop import OpenInbox
from consumers.runtime.observer import SILENT, Observer
from consumers.runtime.retry_policy import possible_delays
from consumers.speech.recogniser import Recogniser
from consumers.store import Store, connect_store
from events.routes import Route
from ops.wiring.environment import Environment
from ops.wiring.settings import (
    DatabaseSettings,
    LoopSettings,
    ModerationSettings,
    SpeechSettings,
    StoreSettings,
    read_broker_address,
)


class OpenDatabase(Protocol):
    """Opens the tables of batches and recordings for a block."""

    def __call__(
        self, environment: Environment, *, connections: int
    ) -> AbstractContextManager[BatchRepository]:
        """Open them with a pool of at most this many connections."""
        ...


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def make_store(environment: Environment, observer: Observer = SILENT) -> Store:
    """Connect to the bucket; the observer receives its failures."""
    settings = StoreSettings.read(environment)
    return connect_store(
        endpoint=settings.endpoint,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        region=settings.region,
        bucket=settings.bucket,
        ca_file=settings.ca_file,
        timeout=settings.timeout,
        on_failure=observer.store_failed,
    )


def make_pool(environment: Environment, *, connections: int, name: str = "dropscribe") -> Pool:
    """Open a pool of at most ``connections`` connections to Postgres.

    Postgres lists them under the application name ``name``.
    """
    return open_postgres_pool(DatabaseSettings.read(environment).url, size=connections, name=name)


@contextmanager
def open_pool(
    environment: Environment, *, connections: int, name: str = "dropscribe"
) -> Iterator[Pool]:
    """Open a pool for a block. See `make_pool`."""
    with closing(make_pool(environment, connections=connections, name=name)) as pool:
        yield pool


@contextmanager
def open_database(environment: Environment, *, connections: int = 4) -> Iterator[BatchRepository]:
    """Open the tables of batches and recordings."""
    with open_pool(environment, connections=connections) as pool:
        yield BatchRepository(pool)


@contextmanager
def open_reviewing(environment: Environment) -> Iterator[ReviewQueueRepository]:
    """Open the tables of the review queue."""
    with open_pool(environment, connections=1, name="dropscribe-review") as pool:
        yield ReviewQueueRepository(pool)


def make_recogniser(environment: Environment, observer: Observer = SILENT) -> Recogniser:
    """Load the speech recogniser; the observer receives how full its batches are."""
    # Imported here, as commands without speech do without it.
    from consumers.speech.whisper import WhisperXRecogniser  # noqa: PLC0415

    settings = SpeechSettings.read(environment)
    return WhisperXRecogniser(
        settings.model,
        settings.models_root,
        device=settings.device,
        compute_type=settings.compute_type,
        batch_size=settings.batch_size,
        threads=settings.threads,
        on_batch=observer.model_filled,
    )


@contextmanager
def open_judge(settings: ModerationSettings, observer: Observer = SILENT) -> Iterator[Judge]:
    """Load the policy model, or connect to the one behind an endpoint, for a block.

    The observer receives how full its batches are.

    Raises:
        ConfigurationError: A setting is invalid, or a package is not installed.
    """
    if settings.endpoint is not None:
        # Imported here, as either judge needs packages that the other does without.
        from consumers.policy.endpoint import EndpointJudge  # noqa: PLC0415

        with EndpointJudge(
            settings.endpoint,
            model=settings.endpoint_model or "",
            key=settings.endpoint_key,
            timeout=settings.endpoint_timeout,
            ca_file=None if settings.endpoint_ca_file is None else Path(settings.endpoint_ca_file),
            batch_size=settings.batch_size,
            context=settings.context,
            on_batch=observer.model_filled,
        ) as judge:
            yield judge
        return
    from consumers.policy.in_process import load_judge  # noqa: PLC0415

    root = settings.models_root
    yield load_judge(
        model=root / settings.model,
        adapter=None if settings.adapter is None else root / settings.adapter,
        device=settings.device,
        quantisation=settings.quantisation,
        batch_size=settings.batch_size,
        context=settings.context,
        on_batch=observer.model_filled,
    )


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapters of handlers, which tests and benchmarks replace.

    Attributes:
        transcoders: Wraps the pool of transcoders.
        handler: Wraps a stage's handler.
    """

    store: Callable[[Environment, Observer], Store] = make_store
    database: OpenDatabase = open_database
    transcoders: Callable[[TranscoderPool], TranscoderPool] = lambda pool: pool
    recogniser: Callable[[Environment, Observer], Recogniser] = make_recogniser
    judge: Callable[[ModerationSettings, Observer], AbstractContextManager[Judge]] = open_judge
    handler: Callable[[Handler], Handler] = lambda handler: handler


def make_topology(environment: Environment) -> Topology:
    """Describe the queues of a RabbitMQ."""
    delays = possible_delays(LoopSettings.read(environment).delays)
    return Topology(read_broker_address(environment).prefix, delays)


def open_inbox(environment: Environment, route: Route) -> OpenInbox:
    """Return the function by which a route's consumer connects to the broker."""
    settings = LoopSettings.read(environment)
    return partial(
        open_any_inbox,
        read_broker_address(environment),
        route,
        topology=make_topology(environment),
        settings=AmqpSettings(
            heartbeat=settings.heartbeat,
            # RabbitMQ checks once a minute whether the time is up.
            renew_after=settings.consumer_timeout * 5 / 6,
        ),
    )
