"""How a setting is declared: its variable, type, default, range and help, in one place.

Reading, error messages, each command's ``--help`` and ``docs/settings.md`` come from these
declarations. They are pydantic models, not pydantic-settings': those read the process' own
environment, know no ``NAME_FILE``, and need python-dotenv.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticUndefined

from ops.wiring.environment import Environment, SettingError

_NUMBERS: Mapping[Any, str] = {int: "a whole number", float: "a number"}

#: The largest whole number, where a declaration gives none: too large for people to need it.
_LARGEST = 1_000_000_000

#: The type of an error whose message says all, of a validator of ours.
_PROBLEM = "setting"


@dataclass(frozen=True, slots=True)
class Form:
    """Marks a type with what its values must be, for people."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A setting, for people.

    Attributes:
        help: Its meaning, in one line.
        form: What its value must be; empty for any text.
        default: Its value if not set; empty for none.
        is_secret: Whether ``NAME_FILE`` may name a file that holds it.
        title: The heading under which it is shown.
        foreign: Whose variable it is, where it is not dropscribe's.
    """

    name: str
    help: str
    form: str
    default: str
    is_required: bool
    is_secret: bool
    title: str
    foreign: str


def setting(
    name: str,
    text: str,
    *,
    default: Any = ...,
    shown: str = "",
    secret: bool = False,
    example: str = "",
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """Declare a setting, as a field of a class of `Settings`.

    Args:
        name: The environment variable.
        text: Its meaning, in one line.
        default: Its value if not set, or a function that makes it. Text is parsed like the
            variable's own. Without a default the variable is required.
        shown: The default for people, where the value itself says too little.
        secret: Whether it may also stand in a file, and is shown nowhere.
        example: A value to suggest where a required variable is missing.
        least: The smallest number allowed.
        most: The largest.
    """
    value: dict[str, Any] = {"default_factory" if callable(default) else "default": default}
    return Field(
        **value,
        alias=name,
        description=text,
        validate_default=isinstance(default, str),
        repr=not secret,
        examples=[example] if example else None,
        ge=least,
        le=most,
        json_schema_extra={"shown": shown, "secret": secret},
    )


def count(
    name: str, text: str, *, default: Any, shown: str = "", least: int = 1, most: int = _LARGEST
) -> Any:
    """Declare a setting that is a whole number."""
    return setting(name, text, default=default, shown=shown, least=least, most=most)


class Settings(BaseModel):
    """Settings that are read together.

    Attributes:
        title: Their heading in ``--help`` and in ``docs/settings.md``.
        foreign: Whose variables they are, where they are not dropscribe's.
    """

    # Validators are built when a group is first read, which keeps `--help` fast.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )

    title: ClassVar[str] = ""
    foreign: ClassVar[str] = ""

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One or more are missing or invalid.
        """
        read = {True: environment.secret, False: environment.get}
        found = {each.name: read[each.is_secret](each.name) for each in cls.variables()}
        given = {name: text for name, text in found.items() if text is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_context=False)
        # Not in the block above: tracebacks would show pydantic's error, too.
        raise SettingError("; ".join(cls._message(error, given) for error in errors))

    @classmethod
    def to_environment(cls, **values: str) -> dict[str, str]:
        """Return the variables by which others read these values of the fields."""
        return {str(cls.model_fields[field].alias): value for field, value in values.items()}

    @classmethod
    def variables(cls) -> tuple[Variable, ...]:
        """Describe all variables, those of the base classes last."""
        keys = sorted(cls.model_fields, key=lambda key: cls.__mro__.index(cls._declaring(key)))
        return tuple(cls._describe(key) for key in keys)

    @classmethod
    def _declaring(cls, key: str) -> type[Settings]:
        bases = [base for base in cls.__mro__ if issubclass(base, Settings)]
        return [base for base in bases if key in base.model_fields][-1]

    @classmethod
    def _describe(cls, key: str) -> Variable:
        field = cls.model_fields[key]
        extra = field.json_schema_extra
        if not isinstance(extra, dict):
            raise TypeError(f"{cls.__name__}.{key} is not declared with `setting`")
        default = field.get_default()
        shown = "" if default in (None, PydanticUndefined) else str(default)
        declaring = cls._declaring(key)
        return Variable(
            name=str(field.alias),
            help=field.description or "",
            form=_form(field),
            default=str(extra["shown"]) or shown,
            is_required=field.is_required(),
            is_secret=bool(extra["secret"]),
            title=declaring.title,
            foreign=declaring.foreign,
        )

    @classmethod
    def _message(cls, error: ErrorDetails, given: Mapping[str, str]) -> str:
        name = str(error["loc"][0])
        key, field = next(each for each in cls.model_fields.items() if each[1].alias == name)
        variable = cls._describe(key)
        if error["type"] == "missing":
            example = f" (for example {field.examples[0]})" if field.examples else ""
            return f"{name} is not set{example}"
        shown = name if variable.is_secret else f"{name}={given.get(name, variable.default)!r}"
        if error["type"] == _PROBLEM:
            return f"{shown} {error['msg']}"
        return f"{shown} is invalid: must be {variable.form}"


def problem(text: str) -> PydanticCustomError:
    """Make a validator's error, whose text follows ``NAME='value'``."""
    return PydanticCustomError(_PROBLEM, "{text}", {"text": text})


def matching(pattern: str) -> AfterValidator:
    """Accept text that matches a pattern from its beginning to its end."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError
        return text

    return AfterValidator(check)


def _form(field: FieldInfo) -> str:
    """Say what a value must be, by its type, its range and a `Form`."""
    # An optional type hides its markers one level deeper than others.
    kinds = [field.annotation, *get_args(field.annotation)]
    markers = [*field.metadata, *(marker for kind in kinds for marker in _markers(kind))]
    limits: dict[type, Any] = {type(marker): marker for marker in markers}
    if Form in limits:
        return str(limits[Form].text)
    for kind in (get_args(kind)[0] if _markers(kind) else kind for kind in kinds):
        if get_origin(kind) is Literal:
            *others, last = get_args(kind)
            return f"{', '.join(others)} or {last}"
        if kind in _NUMBERS:
            return _NUMBERS[kind] + _range(limits)
    return ""


def _range(limits: Mapping[type, Any]) -> str:
    if Le not in limits:
        return ""
    least, most = limits[Ge].ge, limits[Le].le
    return f", at least {least:.16g}" if most == _LARGEST else f" from {least:.16g} to {most:.16g}"


def _markers(kind: Any) -> tuple[Any, ...]:
    return get_args(kind)[1:] if get_origin(kind) is Annotated else ()
