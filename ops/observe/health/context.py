"""Shared by the checks: settings, and servers that are opened when first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar

from consumers.broker.address import BrokerAddress
from consumers.broker.topology import Topology
from consumers.database.health import HealthRepository
from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.store import Store
from events.routes import Route
from ops.wiring.adapters import make_pool, make_store, make_topology, utc_now
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import HealthSettings, read_broker_address
from ops.wiring.stage_table import StageTable

T = TypeVar("T")

#: The errors of a check that queries a server.
ERRORS = (TransientError, PermanentError, ConfigurationError)

#: Checks that query the database at the same time.
_CONNECTIONS = 4


def started(function: Callable[[], T], name: str) -> Future[T]:
    """Call a function in a thread that does not keep the process alive."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(function())
        except BaseException as exc:
            answer.set_exception(exc)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answer


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """Shows the progress of reading files.

    Attributes:
        start: Called with the total in bytes.
        advance: Called with the bytes read since the last call.
    """

    start: Callable[[int], None] = lambda _: None
    advance: Callable[[int], None] = lambda _: None


@dataclass(frozen=True)
class CheckContext:
    """The deployment, as seen from this host.

    Attributes:
        environment: The settings.
        settings: The limits for warning and critical.
        is_full: Whether to read all model files.
        bar: Shows the progress of reading them.
        now: Returns the current time.
        table: The stages.
    """

    environment: Environment
    settings: HealthSettings
    is_full: bool = False
    bar: ProgressBar = ProgressBar()
    now: Callable[[], datetime] = utc_now
    table: StageTable = PIPELINE
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def database(self) -> HealthRepository:
        """The tables, opened once, when first needed; a failure is shared, too.

        They are opened in a thread of its own, so that each check waits only as long as its
        own patience.

        Raises:
            TransientError: The database is unreachable.
            ConfigurationError: DATABASE_URL is invalid.
        """
        with self._lock:
            opening = self._opening
        seconds = self.patience.total_seconds()
        try:
            return opening.result(seconds)
        except TimeoutError as exc:
            raise TransientError(f"the database does not respond within {seconds:g} s") from exc

    @cached_property
    def _opening(self) -> Future[HealthRepository]:
        return started(self._open_database, "database")

    def _open_database(self) -> HealthRepository:
        pool = make_pool(self.environment, connections=_CONNECTIONS, name="dropscribe-health")
        return HealthRepository(pool, self.patience)

    def close(self) -> None:
        """Close the database, if it is open."""
        opening: Future[HealthRepository] | None = vars(self).get("_opening")
        if opening is not None and opening.done() and opening.exception() is None:
            opening.result().close()

    @property
    def store(self) -> Store:
        """The bucket; nothing is requested yet."""
        return make_store(self.environment)

    @property
    def broker(self) -> BrokerAddress:
        """The broker's address."""
        return read_broker_address(self.environment)

    @property
    def topology(self) -> Topology:
        """The queues that bootstrap creates on RabbitMQ."""
        return make_topology(self.environment)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that are set up.

        The database records whether moderation is one of them; if the database is
        unavailable, this host's POLICIES_ROOT decides.
        """
        try:
            is_moderated = self.database.is_moderated()
        except ERRORS:
            return self.table.routes_of(self.environment)
        return tuple(route for route in self.table.routes if is_moderated or not route.is_optional)

    @property
    def patience(self) -> timedelta:
        """The timeout of one query, so that a check with two queries ends in time."""
        return self.settings.timeout * 0.4


@contextmanager
def open_context(
    environment: Environment, *, is_full: bool, bar: ProgressBar
) -> Iterator[CheckContext]:
    """Open the context of the checks while the block runs.

    Raises:
        SettingError: A limit is invalid.
    """
    context = CheckContext(environment, HealthSettings.read(environment), is_full=is_full, bar=bar)
    with closing(context):
        yield context
