"""Consumers as ``dropscribe consume`` runs them, but for two things.

``python -m tests.harness.deployment.consumer ROUTE...``: their recogniser and judge
have no model, and they die where they are told to
(`tests.harness.faults.death`), or of a message that names `POISON`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from consumers.database.batches import BatchRepository
from consumers.policy.judge import Judge
from consumers.runtime.observer import SILENT, Observer
from events.event import ObjectCreated
from events.keys import ARCHIVES
from ops.cli.commands.consume import run_consumers
from ops.wiring.adapters import Adapters, make_store, open_database
from ops.wiring.environment import Environment
from ops.wiring.settings import ModerationSettings
from tests.harness.deployment.stand_ins import LengthRecogniser, WordJudge
from tests.harness.faults.death import Deaths
from tests.harness.faults.dying import (
    DyingDatabase,
    DyingHandler,
    DyingJudge,
    DyingRecogniser,
    DyingStore,
    DyingTranscoders,
)

#: A key that no consumer survives.
POISON = f"{ARCHIVES}poison.tar"


class PoisonableHandler(DyingHandler):
    """A handler that also kills its process when it is handed poison."""

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
        if any(event.key == POISON for event in events):
            self._deaths.die()
        return super().handle(events)


@contextmanager
def open_judge(settings: ModerationSettings, observer: Observer = SILENT) -> Iterator[Judge]:
    """Make the judge without a model; see `ops.wiring.adapters.open_judge`."""
    del observer
    yield WordJudge(settings.context)


def mortal(deaths: Deaths) -> Adapters:
    """Make adapters that die at the allowed points."""

    @contextmanager
    def database(environment: Environment, *, connections: int) -> Iterator[BatchRepository]:
        with open_database(environment, connections=connections) as real:
            yield DyingDatabase(real, deaths)

    @contextmanager
    def judge(settings: ModerationSettings, observer: Observer) -> Iterator[Judge]:
        with open_judge(settings, observer) as real:
            yield DyingJudge(real, deaths)

    return Adapters(
        store=lambda *told: DyingStore(make_store(*told), deaths),
        database=database,
        transcoders=lambda pool: DyingTranscoders(pool, deaths),
        recogniser=lambda *_: DyingRecogniser(LengthRecogniser(), deaths),
        judge=judge,
        handler=lambda handler: PoisonableHandler(handler, deaths),
    )


def immortal() -> Adapters:
    """Make adapters that only do without models."""
    return Adapters(recogniser=lambda *_: LengthRecogniser(), judge=open_judge)


def main(routes: Sequence[str], variables: Mapping[str, str]) -> None:
    """Consume until a signal asks to end."""
    deaths = Deaths.from_variables(variables)
    run_consumers(routes, Environment(variables), immortal() if deaths is None else mortal(deaths))


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
