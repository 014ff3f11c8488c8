"""What the checks look at, opened as it is needed and shared by them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

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
from ops.wiring.stages import StageTable

T = TypeVar("T")

#: What a check that asks somebody else may end with.
ERRORS = (TransientError, PermanentError, ConfigurationError)

#: Checks that ask the database at the same time.
_CONNECTIONS = 4


class _Shared(Generic[T]):
    """Something that is opened once, when it is first needed; a failure is everybody's.

    It is opened in a thread of its own: whoever can do without waits no longer than
    he wants to.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._answer: Future[T] | None = None

    def get(self, patience: timedelta) -> T:
        """Wait for it.

        Raises:
            TransientError: It takes too long.
        """
        with self._lock:
            if self._answer is None:
                self._answer = Future()
                threading.Thread(target=self._open, args=(self._answer,), daemon=True).start()
        try:
            return self._answer.result(patience.total_seconds())
        except TimeoutError as exc:
            seconds = patience.total_seconds()
            raise TransientError(f"the database gives no answer within {seconds:g} s") from exc

    def _open(self, answer: Future[T]) -> None:
        try:
            answer.set_result(self._make())
        except BaseException as exc:
            answer.set_exception(exc)

    def made(self) -> T | None:
        """Give it if it is open."""
        if self._answer is None or not self._answer.done() or self._answer.exception():
            return None
        return self._answer.result()


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """Shows how far something long is.

    Attributes:
        start: Called with how many bytes there are.
        advance: Called with how many more are done.
    """

    start: Callable[[int], None] = lambda _: None
    advance: Callable[[int], None] = lambda _: None


@dataclass(frozen=True)
class CheckContext:
    """A deployment, seen from this host.

    Attributes:
        environment: The settings.
        settings: From when on something is wrong.
        is_full: Whether models are read to their end.
        bar: Shows how far that is.
        now: Tells the time.
        table: The stages.
    """

    environment: Environment
    settings: HealthSettings
    is_full: bool = False
    bar: ProgressBar = ProgressBar()
    now: Callable[[], datetime] = utc_now
    table: StageTable = PIPELINE
    _shared: dict[str, _Shared[HealthRepository]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._shared["database"] = _Shared(self._open_database)

    @property
    def database(self) -> HealthRepository:
        """The tables.

        Raises:
            TransientError: The database can't be reached.
            ConfigurationError: DATABASE_URL can't be.
        """
        return self._shared["database"].get(self.patience)

    @property
    def store(self) -> Store:
        """The bucket; nothing is asked of it yet."""
        return make_store(self.environment)

    @property
    def broker(self) -> BrokerAddress:
        """Where the broker is."""
        return read_broker_address(self.environment)

    @property
    def topology(self) -> Topology:
        """What bootstrap makes on a RabbitMQ."""
        return make_topology(self.environment)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Those that are set up.

        Whether moderation is one of them is on record; where that can't be asked,
        this host's POLICIES_ROOT says so.
        """
        try:
            is_moderated = self.database.is_moderated()
        except ERRORS:
            return self.table.routes_of(self.environment)
        return tuple(route for route in self.table.routes if is_moderated or not route.is_optional)

    @property
    def patience(self) -> timedelta:
        """How long a question may take, so that a check which has two still ends in time."""
        return self.settings.timeout * 0.4

    def close(self) -> None:
        """Close what was opened."""
        database = self._shared["database"].made()
        if database is not None:
            database.close()

    def _open_database(self) -> HealthRepository:
        pool = make_pool(self.environment, connections=_CONNECTIONS, name="dropscribe-health")
        return HealthRepository(pool, self.patience)


@contextmanager
def open_context(
    environment: Environment, *, is_full: bool, bar: ProgressBar
) -> Iterator[CheckContext]:
    """Look at a deployment for as long as the block runs.

    Raises:
        SettingError: A limit can't be.
    """
    context = CheckContext(environment, HealthSettings.read(environment), is_full=is_full, bar=bar)
    try:
        yield context
    finally:
        context.close()
