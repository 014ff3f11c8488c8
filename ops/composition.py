"""The composition root: what is made of the settings, and handed to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from consumers.archive import ArchiveLimits
from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.pool import TranscoderPool
from consumers.broker.amqp import AmqpSettings
from consumers.broker.opening import open_inbox as open_any_inbox
from consumers.broker.topology import Topology
from consumers.completion import Completion
from consumers.convert import Converter
from consumers.database.connect import open_pool
from consumers.database.database import Database
from consumers.errors import TransientError
from consumers.handler import Handler
from consumers.loop import Loop, OpenInbox
from consumers.scratch import Scratch
from consumers.speech.recogniser import Recogniser
from consumers.speech.whisper import WhisperXRecogniser
from consumers.store import Store, connect_store
from consumers.transcribe import Transcribe
from consumers.unpack import Unpack
from consumers.verdict import BUSY_DELAY
from events.routes import ROUTES, Route
from ops.environment import Environment
from ops.settings import (
    DatabaseSettings,
    LoopSettings,
    SpeechSettings,
    StoreSettings,
    UnpackSettings,
    read_broker_address,
)


class OpenDatabase(Protocol):
    """Connects to Postgres for as long as a block runs."""

    def __call__(
        self, environment: Environment, *, connections: int
    ) -> AbstractContextManager[Database]:
        """Open a pool of at most so many connections."""
        ...


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


def make_store(environment: Environment) -> Store:
    """Make the bucket's adapter."""
    settings = StoreSettings.read(environment)
    return connect_store(
        endpoint=settings.endpoint,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        region=settings.region,
        bucket=settings.bucket,
        ca_file=settings.ca_file,
        timeout=settings.timeout,
    )


@contextmanager
def open_database(environment: Environment, *, connections: int = 4) -> Iterator[Database]:
    """Connect to Postgres for as long as the block runs."""
    settings = DatabaseSettings.read(environment)
    database = Database(open_pool(settings.url, size=connections, name="dropscribe"))
    try:
        yield database
    finally:
        database.close()


def make_recogniser(environment: Environment) -> Recogniser:
    """Make what hears; this loads its model."""
    settings = SpeechSettings.read(environment)
    return WhisperXRecogniser(
        settings.model,
        settings.models_root,
        device=settings.device,
        compute_type=settings.compute_type,
        batch_size=settings.batch_size,
        threads=settings.threads,
    )


@dataclass(frozen=True, slots=True)
class Adapters:
    """What handlers work through, made of the settings.

    Attributes:
        store: Makes the bucket's adapter.
        database: Connects to Postgres, with so many connections at most.
        transcoders: Stand around the pool of transcoders.
        recogniser: Makes what hears.
        handler: Stands around a route's handler.
    """

    store: Callable[[Environment], Store] = make_store
    database: OpenDatabase = open_database
    transcoders: Callable[[TranscoderPool], TranscoderPool] = lambda pool: pool
    recogniser: Callable[[Environment], Recogniser] = make_recogniser
    handler: Callable[[Handler], Handler] = lambda handler: handler


@contextmanager
def _unpack(environment: Environment, adapters: Adapters, log: Any) -> Iterator[Handler]:
    settings = UnpackSettings.read(environment)
    store = adapters.store(environment)
    scratch = Scratch(settings.scratch_root)
    # While a transcoder works for one member, the one before it is uploaded.
    threads = settings.processes * 2
    pool = TranscoderPool(
        settings.processes,
        OpusSettings(bit_rate=settings.opus_bit_rate),
        MediaLimits(),
        settings.silence_dbfs,
    )
    with adapters.database(environment, connections=threads + 2) as database, pool:
        yield Unpack(
            store=store,
            database=database,
            completion=Completion(store, database, log),
            converter=Converter(store, adapters.transcoders(pool), scratch),
            scratch=scratch,
            limits=ArchiveLimits(),
            threads=threads,
            log=log,
        )


@contextmanager
def _transcribe(environment: Environment, adapters: Adapters, log: Any) -> Iterator[Handler]:
    settings = SpeechSettings.read(environment)
    store = adapters.store(environment)
    recogniser = adapters.recogniser(environment)
    with adapters.database(environment, connections=4) as database:
        yield Transcribe(
            store=store,
            database=database,
            completion=Completion(store, database, log),
            recogniser=recogniser,
            scratch=Scratch(settings.scratch_root),
            group=settings.group,
            log=log,
        )


#: Which handlers there are, by their route's name.
HANDLERS = {"unpack": _unpack, "transcribe": _transcribe}


def route_named(name: str) -> Route:
    """Find a route in the table."""
    return next(route for route in ROUTES if route.name == name)


@contextmanager
def open_loop(
    route: Route, environment: Environment, log: Any, adapters: Adapters | None = None
) -> Iterator[Loop]:
    """Make a route's consumer, ready to run.

    Args:
        route: Whose.
        environment: The settings.
        log: A structlog logger.
        adapters: What its handler works through; None for the real ones.

    Raises:
        ClockError: It could do nothing but fail what it takes.
    """
    _check_clock(environment, log)
    opener = open_inbox(environment, route)
    delays = LoopSettings.read(environment).delays
    adapters = adapters or Adapters()
    with HANDLERS[route.name](environment, adapters, log) as handler:
        yield Loop(
            route=route,
            handler=adapters.handler(handler),
            open_inbox=opener,
            log=log,
            delays=delays,
        )


def _check_clock(environment: Environment, log: Any) -> None:
    try:
        make_store(environment).now()
    except TransientError as exc:
        # Deliveries wait for a store that is away; this is not the place to.
        log.warning("store is away", error=str(exc))


def make_topology(environment: Environment) -> Topology:
    """Describe the queues of a RabbitMQ."""
    delays = {*LoopSettings.read(environment).delays, BUSY_DELAY}
    return Topology(read_broker_address(environment).prefix, delays=tuple(sorted(delays)))


def open_inbox(environment: Environment, route: Route) -> OpenInbox:
    """Say how a consumer of the route connects to the broker."""
    settings = LoopSettings.read(environment)
    return partial(
        open_any_inbox,
        read_broker_address(environment),
        route,
        topology=make_topology(environment),
        settings=AmqpSettings(
            heartbeat=settings.heartbeat,
            # RabbitMQ looks once a minute whether the time is up.
            renew_after=settings.consumer_timeout * 5 / 6,
        ),
    )
