"""Reading settings from environment variables, with errors that name the variable."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from consumers.errors import ConfigurationError


class SettingError(ConfigurationError):
    """A variable is missing, or its value can't be."""


class Environment:
    """Environment variables; an empty one counts as not set.

    A secret can also stand in a file: ``NAME_FILE`` names it.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str, default: str) -> str:
        """Read a text."""
        return self._variables.get(name) or default

    def optional(self, name: str) -> str | None:
        """Read a text that need not be set."""
        return self._variables.get(name) or None

    def matching(self, name: str, default: str, pattern: re.Pattern[str]) -> str:
        """Read a text of a given form.

        Raises:
            SettingError: It is of another.
        """
        text = self.text(name, default)
        if not pattern.fullmatch(text):
            raise SettingError(f"{name}={text!r} is not of the form {pattern.pattern}")
        return text

    def secret(self, name: str) -> str | None:
        """Read a secret from ``name``, or from the file that ``{name}_FILE`` names.

        Raises:
            SettingError: The file can't be read.
        """
        path = self.optional(f"{name}_FILE")
        if path is None:
            return self.optional(name)
        # Neither the file's name nor its content is told: whoever mistakes one
        # variable for the other has put the secret itself here.
        try:
            return Path(path).read_text(encoding="utf-8").strip() or None
        except OSError as exc:
            why = exc.strerror
        except ValueError:
            why = "it is no text in UTF-8"
        raise SettingError(f"{name}_FILE names a file that can't be read: {why}")

    def required_secret(self, name: str, example: str) -> str:
        """Read a secret that must be set.

        Raises:
            SettingError: It is not.
        """
        value = self.secret(name)
        if value is None:
            raise SettingError(f"{name} is not set (for example {example})")
        return value

    def integer(self, name: str, default: int, *, least: int = 1, most: int = 1_000_000_000) -> int:
        """Read a whole number.

        Raises:
            SettingError: It is none, or not within ``least`` and ``most``.
        """
        text = self.optional(name)
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError as exc:
            raise SettingError(f"{name}={text!r} is not a whole number") from exc
        if not least <= value <= most:
            raise SettingError(f"{name}={text} is not within {least} and {most}")
        return value

    def number(self, name: str, default: float) -> float:
        """Read a number.

        Raises:
            SettingError: It is none.
        """
        text = self.optional(name)
        try:
            value = default if text is None else float(text)
        except ValueError as exc:
            raise SettingError(f"{name}={text!r} is not a number") from exc
        if not math.isfinite(value):
            raise SettingError(f"{name}={text!r} is not a number")
        return value

    def path(self, name: str) -> Path | None:
        """Read an absolute path.

        Raises:
            SettingError: It is relative.
        """
        text = self.optional(name)
        if text is None:
            return None
        path = Path(text).expanduser()
        if not path.is_absolute():
            raise SettingError(f"{name}={text!r} is not an absolute path")
        return path
