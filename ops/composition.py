"""The composition root: what is made of the settings, and handed to whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

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
from consumers.handler import Handler
from consumers.loop import Loop, OpenInbox
from consumers.scratch import Scratch
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


@contextmanager
def _unpack(environment: Environment, log: Any) -> Iterator[Handler]:
    settings = UnpackSettings.read(environment)
    store = make_store(environment)
    scratch = Scratch(settings.scratch_root)
    # While a transcoder works for one member, the one before it is uploaded.
    threads = settings.processes * 2
    pool = TranscoderPool(
        settings.processes,
        OpusSettings(bit_rate=settings.opus_bit_rate),
        MediaLimits(),
        settings.silence_dbfs,
    )
    with open_database(environment, connections=threads + 2) as database, pool:
        yield Unpack(
            store=store,
            database=database,
            completion=Completion(store, database, log),
            converter=Converter(store, pool, scratch),
            scratch=scratch,
            limits=ArchiveLimits(),
            threads=threads,
            clock=utc_now,
            log=log,
        )


@contextmanager
def _transcribe(environment: Environment, log: Any) -> Iterator[Handler]:
    settings = SpeechSettings.read(environment)
    store = make_store(environment)
    recogniser = WhisperXRecogniser(
        settings.model,
        settings.models_root,
        device=settings.device,
        compute_type=settings.compute_type,
        batch_size=settings.batch_size,
        threads=settings.threads,
    )
    with open_database(environment) as database:
        yield Transcribe(
            store=store,
            database=database,
            completion=Completion(store, database, log),
            recogniser=recogniser,
            scratch=Scratch(settings.scratch_root),
            group=settings.group,
            clock=utc_now,
            log=log,
        )


#: Which handlers there are, by their route's name.
HANDLERS = {"unpack": _unpack, "transcribe": _transcribe}


def route_named(name: str) -> Route:
    """Find a route in the table."""
    return next(route for route in ROUTES if route.name == name)


@contextmanager
def open_loop(route: Route, environment: Environment, log: Any) -> Iterator[Loop]:
    """Make a route's consumer, ready to run."""
    opener = open_inbox(environment, route)
    delays = LoopSettings.read(environment).delays
    with HANDLERS[route.name](environment, log) as handler:
        yield Loop(route=route, handler=handler, open_inbox=opener, log=log, delays=delays)


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
