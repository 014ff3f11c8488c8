"""The table of stages: the row, the declaration and the handler of each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from consumers.database.roles import RolePrivileges, all_roles
from consumers.runtime.handler import Handler
from consumers.runtime.observer import SILENT, Observer
from consumers.stages.spec import StageSpec
from events.routes import Route
from ops.wiring.adapters import Adapters
from ops.wiring.environment import Environment
from ops.wiring.settings import Settings


class OpenHandler(Protocol):
    """Puts a stage's handler together: its models are loaded and its connections open."""

    def __call__(
        self, environment: Environment, adapters: Adapters, log: Any, observer: Observer = SILENT
    ) -> AbstractContextManager[Handler]:
        """Keep the handler usable until the block ends.

        Raises:
            ConfigurationError: A setting is missing or invalid.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        is_set_up: Whether the settings ask for it, where the route is optional.
        settings: The groups that its handler reads, besides those of the servers.
    """

    route: Route
    spec: StageSpec
    open_handler: OpenHandler
    is_set_up: Callable[[Environment], bool] = lambda _: True
    settings: tuple[type[Settings], ...] = ()


@dataclass(frozen=True, slots=True)
class StageTable:
    """All stages, those of a deployment that does without some included."""

    stages: tuple[Stage, ...]

    @property
    def routes(self) -> tuple[Route, ...]:
        """The rows of all stages."""
        return tuple(stage.route for stage in self.stages)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all stages."""
        return tuple(stage.route.name for stage in self.stages)

    @property
    def settings(self) -> tuple[type[Settings], ...]:
        """The settings of all stages."""
        return tuple(group for stage in self.stages for group in stage.settings)

    @property
    def database_roles(self) -> RolePrivileges:
        """The roles in the database, those of people included."""
        return all_roles({stage.route.name: stage.spec.tables for stage in self.stages})

    def __getitem__(self, name: str) -> Stage:
        return self.stages[self.names.index(name)]

    def routes_of(self, environment: Environment) -> tuple[Route, ...]:
        """Return the rows of the stages that are set up: optional ones only if they have work."""
        return tuple(stage.route for stage in self.stages if stage.is_set_up(environment))
