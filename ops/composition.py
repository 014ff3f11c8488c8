"""The composition root: what is made of the settings, and handed to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from consumers.archive import ArchiveLimits
from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.pool import TranscoderPool
from consumers.broker.address import BrokerAddress
from consumers.broker.inbox import Delivery, Inbox
from consumers.broker.sqs import open_sqs_inbox
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
from events.routes import ROUTES, Route
from ops.environment import Environment
from ops.settings import (
    DatabaseSettings,
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
    with HANDLERS[route.name](environment, log) as handler:
        yield Loop(route=route, handler=handler, open_inbox=opener, log=log)


def open_inbox(environment: Environment, route: Route) -> OpenInbox:
    """Say how a consumer of the route connects to the broker."""
    return partial(_open_inbox, read_broker_address(environment), route)


def _open_inbox(
    address: BrokerAddress, route: Route, prefetch: int, receive: Callable[[Delivery], None]
) -> Inbox:
    return open_sqs_inbox(address, route, prefetch=prefetch, receive=receive)
