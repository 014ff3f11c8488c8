"""Options and types of parameters that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from events.keys import AudioId, BatchId
from ops.durations import parse_duration

_Value = TypeVar("_Value")
_Command = TypeVar("_Command", bound=Callable[..., object])

#: Characters of a reviewer's name.
_NAME = 100


class ParsedType(click.ParamType[_Value]):
    """Values that a function makes of their text; its ValueError is the user's error."""

    def __init__(self, name: str, parse: Callable[[str], _Value]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> _Value:
        """Parse a text; a default may be a value already."""
        if not isinstance(value, str):
            return cast("_Value", value)
        try:
            return self._parse(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def parse_text(text: str) -> str:
    """Return text that can be stored: the command line may hold bytes that do not decode.

    Raises:
        ValueError: There are such bytes.
    """
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("it contains bytes that are invalid in the terminal's encoding")
    return text


def _parse_name(text: str) -> str:
    name = " ".join(parse_text(text).split())
    if not (name and name.isprintable() and len(name) <= _NAME):
        raise ValueError(f"{name!r} must have 1 to {_NAME} printable characters")
    return name


#: A batch id.
BATCH = ParsedType("batch", BatchId)

#: A recording's id.
AUDIO = ParsedType("audio_id", AudioId.parse)

#: A length of time: ``90s``, ``15min``, ``6h``, ``7d``.
DURATION = ParsedType("duration", parse_duration)

#: Text without undecodable bytes.
TEXT = ParsedType("text", parse_text)

#: A file that has to exist.
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

#: A file and a folder that are written.
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")

of_batch_option = click.option("--batch", type=BATCH, help="Limit to this batch.")

reviewer_option = click.option(
    "--as",
    "reviewer",
    type=ParsedType("name", _parse_name),
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


def gathered(
    make: Callable[..., object], *added: Callable[[_Command], _Command]
) -> Callable[[_Command], _Command]:
    """Combine parameters into one decorator; --help lists them in this order.

    The command gets what ``make`` makes of their values, as its parameter ``chosen``.
    """
    names = inspect.signature(make).parameters.keys()

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def gather(*args: object, **values: object) -> object:
            own = {name: values.pop(name) for name in names & values.keys()}
            return command(*args, chosen=make(**own), **values)

        gathering = cast("_Command", gather)
        for parameter in reversed(added):
            gathering = parameter(gathering)
        return gathering

    return decorate
