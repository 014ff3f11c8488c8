"""``docs/settings.md``: ``python -m ops.cli.settings_page > docs/settings.md`` writes it anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from ops.cli.main import main
from ops.cli.settings import SettingsCommand, by_title
from ops.wiring.settings import Variable, variables_of

_HEAD = """\
# Settings

<!-- Written by `python -m ops.cli.settings_page > docs/settings.md`; do not edit. -->

Settings are environment variables. An empty variable counts as not set. `dropscribe COMMAND
--help` lists those that a command reads; [a table](#commands) at the end does so for all commands.

A variable marked *secret* may stand in a file instead: set `NAME_FILE` to the file's path, for
example `DATABASE_URL_FILE=/etc/dropscribe/database-url`.
"""


def settings_page() -> str:
    """Write the page of all settings, in Markdown."""
    return "\n".join(_lines()) + "\n"


def commands() -> Iterator[tuple[str, SettingsCommand]]:
    """Find the commands that declare settings, with their names as people type them."""
    yield from _commands(main, click.Context(main), "")


def _commands(
    group: click.Group, context: click.Context, prefix: str
) -> Iterator[tuple[str, SettingsCommand]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, SettingsCommand):
            yield prefix + name, command
        elif isinstance(command, click.Group):
            yield from _commands(command, context, f"{prefix}{name} ")


def _lines() -> Iterator[str]:
    yield _HEAD
    sections = by_title(variables_of())
    for title, variables in sections.items():
        yield f"## {title}\n"
        yield "| variable | meaning | value | default |"
        yield "|---|---|---|---|"
        yield from (_row(variable) for variable in variables)
        yield ""
    yield "## Commands\n"
    yield "| command | settings |"
    yield "|---|---|"
    for name, command in commands():
        read = by_title(command.variables)
        parts = (_part(title, read[title], sections[title]) for title in read)
        yield f"| `{name}` | {', '.join(parts)} |"


def _row(variable: Variable) -> str:
    note = f" (a variable of {variable.foreign})" if variable.foreign else ""
    default = "**required**" if variable.is_required else variable.default
    form = variable.form + (", " if variable.form and variable.is_secret else "")
    form += "*secret*" if variable.is_secret else ""
    return f"| `{variable.name}` | {_escaped(variable.help)}{note} | {form} | {default} |"


def _part(title: str, read: Sequence[Variable], section: Sequence[Variable]) -> str:
    """Name a section that is read as a whole, else its variables."""
    if len(read) == len(section):
        return f"[{title}](#{title.lower().replace(' ', '-')})"
    return ", ".join(f"`{variable.name}`" for variable in read)


def _escaped(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*").replace("<", r"\<")


if __name__ == "__main__":
    click.echo(settings_page(), nl=False)
