"""Commands that declare the settings they read: their help lists these, and no other is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from ops.wiring.environment import Environment
from ops.wiring.settings import Settings, Variable, variables_of


class SettingsCommand(click.Command):
    """A command whose ``--help`` ends with its settings.

    Args:
        settings: The groups that it reads, or hands to the processes that it starts.
    """

    def __init__(self, *args: Any, settings: Sequence[type[Settings]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.variables = variables_of(settings)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the settings."""
        super().format_options(ctx, formatter)
        for title, variables in by_title(self.variables).items():
            with formatter.section(f"Settings, {title.lower()}"):
                formatter.write_dl([*_rows(variables)])


def read_environment() -> Environment:
    """Return the environment of this process, reduced to the settings of the running command."""
    command = click.get_current_context().command
    if not isinstance(command, SettingsCommand):
        raise TypeError(f"{command.name} declares no settings")
    return Environment(os.environ, {variable.name for variable in command.variables})


def by_title(variables: Iterable[Variable]) -> Mapping[str, Sequence[Variable]]:
    """Sort variables under their headings."""
    found: dict[str, list[Variable]] = {}
    for variable in variables:
        found.setdefault(variable.title, []).append(variable)
    return found


def _rows(variables: Sequence[Variable]) -> Iterable[tuple[str, str]]:
    foreign: dict[str, list[str]] = {}
    for variable in variables:
        if variable.foreign:
            foreign.setdefault(variable.foreign, []).append(variable.name)
        else:
            yield variable.name, f"{variable.help} {_note(variable)}".strip()
    for owner, names in foreign.items():
        yield f"also {owner}", ", ".join(names)


def _note(variable: Variable) -> str:
    file = f"[or {variable.name}_FILE] " if variable.is_secret else ""
    if variable.is_required:
        return f"{file}[required]"
    return file + (f"[default: {variable.default}]" if variable.default else "")
