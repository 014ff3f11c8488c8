"""Options and types of parameters that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import click

from events.keys import AudioId, BatchId, MalformedKeyError
from ops.durations import parse_duration

_Command = TypeVar("_Command", bound=Callable[..., object])

#: Characters of a reviewer's name.
_NAME = 100


class _BatchType(click.ParamType[BatchId]):
    name = "batch"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> BatchId:
        try:
            return BatchId(str(value))
        except MalformedKeyError as exc:
            self.fail(str(exc), param, ctx)


class _AudioType(click.ParamType[AudioId]):
    name = "audio_id"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> AudioId:
        try:
            return AudioId.parse(str(value))
        except MalformedKeyError as exc:
            self.fail(str(exc), param, ctx)


class _DurationType(click.ParamType[timedelta]):
    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        duration = parse_duration(str(value))
        if duration is None:
            self.fail(f"{value!r} is not a duration like 90s, 15min, 6h or 7d", param, ctx)
        return duration


class _TextType(click.ParamType[str]):
    """Text that can be stored: the command line may hold bytes that do not decode."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        if any("\ud800" <= each <= "\udfff" for each in text):
            self.fail("it is no text in the terminal's encoding", param, ctx)
        return text


class _NameType(_TextType):
    name = "name"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        name = " ".join(super().convert(value, param, ctx).split())
        if not (name and name.isprintable() and len(name) <= _NAME):
            self.fail(f"{name!r} is no name of 1 to {_NAME} printable characters", param, ctx)
        return name


#: A batch id.
BATCH = _BatchType()

#: A recording's id.
AUDIO = _AudioType()

#: A length of time: ``90s``, ``15min``, ``6h``, ``7d``.
DURATION = _DurationType()

#: Text without undecodable bytes.
TEXT = _TextType()

#: A file that has to exist.
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")

of_batch_option = click.option("--batch", type=BATCH, help="Limit to this batch.")

reviewer_option = click.option(
    "--as",
    "reviewer",
    type=_NameType(),
    envvar="REVIEWER",
    show_envvar=True,
    required=True,
    metavar="NAME",
    help="The name you review under.",
)


def limit_option(default: int, *, most: int | None = None) -> Callable[[_Command], _Command]:
    """Make the option that bounds the length of a list."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1, max=most),
        default=default,
        show_default=True,
        help="Maximum number to show.",
    )


def options(*added: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Combine options into one decorator; --help lists them in this order."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(added):
            command = option(command)
        return command

    return decorate
