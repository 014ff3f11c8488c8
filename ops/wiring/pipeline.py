"""Each route's consumer, put together from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from consumers.archive import ArchiveLimits
from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.pool import TranscoderPool
from consumers.broker.connect import open_sender
from consumers.database.migrate import pending
from consumers.database.review_items import ReviewItemRepository
from consumers.documents.transcript.doubt import DoubtLimits
from consumers.errors import ConfigurationError, TransientError
from consumers.policy.policy import read_policies
from consumers.runtime.handler import Handler
from consumers.runtime.loop import Loop
from consumers.runtime.observer import SILENT, Observer
from consumers.stages import moderate, review, transcribe, unpack
from consumers.stages.moderate import Moderate, ModerationCriteria
from consumers.stages.review import Review
from consumers.stages.selection import Selection
from consumers.stages.stage_handler import StageContext
from consumers.stages.transcribe import Transcribe
from consumers.stages.unpack import Unpack
from consumers.store.scratch import Scratch
from events.routes import review_queue_name, route_named
from ops.wiring.adapters import Adapters, make_store, make_topology, open_inbox, open_pool
from ops.wiring.environment import Environment
from ops.wiring.settings import (
    DatabaseSettings,
    LoopSettings,
    ModerationSettings,
    PoliciesSettings,
    ReviewSettings,
    SpeechSettings,
    UnpackSettings,
    read_broker_address,
)
from ops.wiring.stage_table import Stage, StageTable


@contextmanager
def open_unpack(
    environment: Environment, adapters: Adapters, log: Any, observer: Observer = SILENT
) -> Iterator[Handler]:
    """Start the transcoding processes, and put the handler together."""
    settings = UnpackSettings.read(environment)
    # While a transcoder works on one member, the one before it is uploaded.
    threads = settings.processes * 2
    pool = TranscoderPool(
        settings.processes,
        OpusSettings(
            bit_rate=settings.opus_bit_rate,
            complexity=settings.opus_complexity,
            channels=settings.channels,
        ),
        MediaLimits(),
        settings.silence_dbfs,
    )
    store = adapters.store(environment, observer)
    with adapters.database(environment, connections=threads + 2) as database, pool:
        yield Unpack(
            StageContext(store, database, log, observer),
            transcoders=adapters.transcoders(pool),
            scratch=Scratch(settings.scratch_root),
            limits=ArchiveLimits(),
            threads=threads,
        )


@contextmanager
def open_transcribe(
    environment: Environment, adapters: Adapters, log: Any, observer: Observer = SILENT
) -> Iterator[Handler]:
    """Load the speech recogniser, and put the handler together."""
    settings = SpeechSettings.read(environment)
    store = adapters.store(environment, observer)
    recogniser = adapters.recogniser(environment, observer)
    with adapters.database(environment, connections=4) as database:
        yield Transcribe(
            StageContext(store, database, log, observer),
            recogniser=recogniser,
            scratch=Scratch(settings.scratch_root),
            group=settings.group,
            skips_duplicates=settings.duplicates == "skip",
        )


@contextmanager
def open_moderate(
    environment: Environment, adapters: Adapters, log: Any, observer: Observer = SILENT
) -> Iterator[Handler]:
    """Load or reach the policy model, check the policies, and put the handler together."""
    settings = ModerationSettings.read(environment)
    if settings.policies_root is None:
        raise ConfigurationError(
            "POLICIES_ROOT is not set: there are no policies to apply "
            "(dropscribe policy examples --to FOLDER gives some to begin with)"
        )
    policies = partial(read_policies, settings.policies_root)
    store = adapters.store(environment, observer)
    with (
        adapters.judge(settings, observer) as judge,
        adapters.database(environment, connections=4) as database,
    ):
        handler = Moderate(
            StageContext(store, database, log, observer),
            judge=judge,
            criteria=ModerationCriteria(policies, settings.languages, settings.window_seconds),
            group=settings.group,
        )
        try:
            # A policy that is too long is an error before there is work.
            handler.check()
        except TransientError as exc:
            log.warning("model is away", error=str(exc))
        yield handler


@contextmanager
def open_review(
    environment: Environment, adapters: Adapters, log: Any, observer: Observer = SILENT
) -> Iterator[Handler]:
    """Put the handler together."""
    settings = ReviewSettings.read(environment)
    address = read_broker_address(environment)
    store = adapters.store(environment, observer)
    with (
        adapters.database(environment, connections=4) as database,
        open_pool(environment, connections=2, name="dropscribe-review") as pool,
        open_sender(address, make_topology(environment)) as sender,
    ):
        yield Review(
            StageContext(store, database, log, observer),
            itemising=ReviewItemRepository(pool),
            sender=sender,
            queue=review_queue_name(address.prefix),
            scratch=Scratch(settings.scratch_root),
            selection=Selection(sample=settings.sample, margin=settings.margin_seconds),
            limits=DoubtLimits(logprob=settings.logprob, silence_dbfs=settings.silence_dbfs),
        )


def _has_policies(environment: Environment) -> bool:
    return PoliciesSettings.read(environment).is_moderated


#: A stage for each row of `events.routes.ROUTES`.
PIPELINE = StageTable(
    (
        Stage(route_named("unpack"), unpack.SPEC, open_unpack, settings=(UnpackSettings,)),
        Stage(
            route_named("transcribe"), transcribe.SPEC, open_transcribe, settings=(SpeechSettings,)
        ),
        Stage(
            route_named("moderate"),
            moderate.SPEC,
            open_moderate,
            is_set_up=_has_policies,
            settings=(ModerationSettings,),
        ),
        Stage(route_named("review"), review.SPEC, open_review, settings=(ReviewSettings,)),
    )
)


@contextmanager
def open_consumer(
    stage: Stage,
    environment: Environment,
    log: Any,
    adapters: Adapters | None = None,
    observer: Observer = SILENT,
) -> Iterator[Loop]:
    """Put a stage's consumer together, ready to run.

    Args:
        stage: The stage.
        environment: The settings.
        log: A structlog logger.
        adapters: What its handler works through; None for the real ones.
        observer: Receives reports of the work.

    Raises:
        ClockError: The clocks of this host and of the store differ too much.
        ConfigurationError: A setting is missing or invalid, or the database's schema is
            older than this release.
    """
    _check_clock(environment, log)
    _check_schema(environment, log)
    opener = open_inbox(environment, stage.route)
    delays = LoopSettings.read(environment).delays
    adapters = adapters or Adapters()
    with stage.open_handler(environment, adapters, log, observer) as handler:
        yield Loop(
            route=stage.route,
            handler=adapters.handler(handler),
            open_inbox=opener,
            log=log,
            delays=delays,
            observer=observer,
        )


def _check_clock(environment: Environment, log: Any) -> None:
    try:
        make_store(environment).now()
    except TransientError as exc:
        # Deliveries wait for a store that is away; this is not the place to.
        log.warning("store is away", error=str(exc))


def _check_schema(environment: Environment, log: Any) -> None:
    try:
        missing = pending(DatabaseSettings.read(environment).url)
    except TransientError as exc:
        log.warning("database is away", error=str(exc))
        return
    if missing:
        names = ", ".join(f"{step.version:04} {step.name}" for step in missing)
        raise ConfigurationError(
            f"the database's schema is older than this release ({names}): "
            "run 'dropscribe bootstrap' of this release first"
        )
