"""The composition root: what is made of the settings, and handed to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from consumers.archive import ArchiveLimits
from consumers.audio.clip import cut_clip
from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.pool import TranscoderPool
from consumers.broker.amqp import AmqpSettings
from consumers.broker.opening import open_inbox as open_any_inbox
from consumers.broker.sender import open_sender
from consumers.broker.topology import Topology
from consumers.completion import Completion
from consumers.convert import Converter
from consumers.database.connect import Pool, open_pool
from consumers.database.database import Database
from consumers.database.itemising import Itemising
from consumers.errors import ConfigurationError, TransientError
from consumers.handler import Handler
from consumers.loop import Loop, OpenInbox
from consumers.moderate import Moderate, Standard
from consumers.policy.folder import read_policies
from consumers.policy.judge import Judge
from consumers.review import Review
from consumers.reviews.selection import Selection
from consumers.scratch import Scratch
from consumers.speech.recogniser import Recogniser
from consumers.speech.whisper import WhisperXRecogniser
from consumers.store import Store, connect_store
from consumers.transcribe import Transcribe
from consumers.transcript.doubt import DoubtLimits
from consumers.unpack import Unpack
from consumers.verdict import BUSY_DELAY
from events.routes import ROUTES, Route, review_queue_name
from ops.environment import Environment
from ops.settings import (
    DatabaseSettings,
    LoopSettings,
    ModerationSettings,
    ReviewSettings,
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


@contextmanager
def open_judge(settings: ModerationSettings) -> Iterator[Judge]:
    """Make what judges for as long as the block runs; a model in this process is loaded.

    Raises:
        ConfigurationError: It can't be, or a package is not installed.
    """
    if settings.endpoint is not None:
        # Only here, as each needs packages that the other does without.
        from consumers.policy.endpoint import EndpointJudge  # noqa: PLC0415

        with EndpointJudge(
            settings.endpoint,
            model=settings.endpoint_model or "",
            key=settings.endpoint_key,
            timeout=settings.endpoint_timeout,
            ca_file=None if settings.endpoint_ca_file is None else Path(settings.endpoint_ca_file),
            batch_size=settings.batch_size,
            context=settings.context,
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
    )


@dataclass(frozen=True, slots=True)
class Adapters:
    """What handlers work through, made of the settings.

    Attributes:
        store: Makes the bucket's adapter.
        database: Connects to Postgres, with so many connections at most.
        transcoders: Stand around the pool of transcoders.
        recogniser: Makes what hears.
        judge: Makes what judges.
        handler: Stands around a route's handler.
    """

    store: Callable[[Environment], Store] = make_store
    database: OpenDatabase = open_database
    transcoders: Callable[[TranscoderPool], TranscoderPool] = lambda pool: pool
    recogniser: Callable[[Environment], Recogniser] = make_recogniser
    judge: Callable[[ModerationSettings], AbstractContextManager[Judge]] = open_judge
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


@contextmanager
def _moderate(environment: Environment, adapters: Adapters, log: Any) -> Iterator[Handler]:
    settings = ModerationSettings.read(environment)
    if settings.policies_root is None:
        raise ConfigurationError(
            "POLICIES_ROOT is not set: there are no policies, and so nothing to moderate by "
            "(dropscribe policy examples --to FOLDER gives some to begin with)"
        )
    policies = partial(read_policies, settings.policies_root)
    store = adapters.store(environment)
    with (
        adapters.judge(settings) as judge,
        adapters.database(environment, connections=4) as database,
    ):
        handler = Moderate(
            store=store,
            database=database,
            completion=Completion(store, database, log),
            judge=judge,
            standard=Standard(policies, settings.languages, settings.window_seconds),
            group=settings.group,
            log=log,
        )
        try:
            # A policy that is too long is to be known of before there is work.
            handler.check()
        except TransientError as exc:
            log.warning("model is away", error=str(exc))
        yield handler


@contextmanager
def _review(environment: Environment, adapters: Adapters, log: Any) -> Iterator[Handler]:
    settings = ReviewSettings.read(environment)
    address = read_broker_address(environment)
    store = adapters.store(environment)
    with (
        adapters.database(environment, connections=4) as database,
        closing(_open_pool(environment)) as pool,
        open_sender(address, make_topology(environment)) as sender,
    ):
        yield Review(
            store=store,
            database=database,
            itemising=Itemising(pool),
            announcer=sender,
            queue=review_queue_name(address.prefix),
            scratch=Scratch(settings.scratch_root),
            cut=cut_clip,
            selection=Selection(sample=settings.sample, margin=settings.margin_seconds),
            limits=DoubtLimits(logprob=settings.logprob, silence_dbfs=settings.silence_dbfs),
            log=log,
        )


def _open_pool(environment: Environment) -> Pool:
    return open_pool(DatabaseSettings.read(environment).url, size=2, name="dropscribe-review")


#: Which handlers there are, by their route's name.
HANDLERS = {
    "unpack": _unpack,
    "transcribe": _transcribe,
    "moderate": _moderate,
    "review": _review,
}


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
