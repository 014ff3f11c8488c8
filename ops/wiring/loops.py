"""Making each route's consumer of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from consumers.database.migrate import pending
from consumers.errors import ConfigurationError, TransientError
from consumers.runtime.account import Accountant
from consumers.runtime.loop import Loop
from consumers.runtime.observer import SILENT, Observer
from events.routes import Route
from ops.wiring.composition import Adapters, make_store, open_inbox
from ops.wiring.environment import Environment
from ops.wiring.handlers import HANDLERS
from ops.wiring.settings import DatabaseSettings, LoopSettings


@contextmanager
def open_loop(
    route: Route,
    environment: Environment,
    log: Any,
    adapters: Adapters | None = None,
    observer: Observer = SILENT,
) -> Iterator[Loop]:
    """Make a route's consumer, ready to run.

    Args:
        route: Whose.
        environment: The settings.
        log: A structlog logger.
        adapters: What its handler works through; None for the real ones.
        observer: Is told how it goes.

    Raises:
        ClockError: It could do nothing but fail what it takes.
        ConfigurationError: So it could with a schema that is older than this release.
    """
    _check_clock(environment, log)
    _check_schema(environment, log)
    opener = open_inbox(environment, route)
    delays = LoopSettings.read(environment).delays
    adapters = adapters or Adapters()
    accountant = Accountant(observer)
    with HANDLERS[route.name](environment, adapters, log, accountant) as handler:
        yield Loop(
            route=route,
            handler=adapters.handler(handler),
            open_inbox=opener,
            log=log,
            delays=delays,
            accountant=accountant,
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
