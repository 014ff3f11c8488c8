"""Environment variables as the settings read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from consumers.errors import ConfigurationError


class SettingError(ConfigurationError):
    """A variable is missing or invalid; the message names it and says what to do."""


class UndeclaredSettingError(Exception):
    """A program reads a variable that it does not declare, so that its ``--help`` would lack it."""


class Environment:
    """Environment variables; an empty one counts as not set.

    A secret may also stand in a file: ``NAME_FILE`` holds the file's path.

    Args:
        variables: Their values.
        declared: The names that may be read; None for all.
    """

    def __init__(
        self, variables: Mapping[str, str], declared: Collection[str] | None = None
    ) -> None:
        self._variables = variables
        self._declared = declared

    def get(self, name: str) -> str | None:
        """Read a variable; None where it is not set."""
        self._check(name)
        return self._variables.get(name) or None

    def is_set(self, name: str) -> bool:
        """Whether a variable, or the file that may hold it, is set."""
        self._check(name)
        return any(self._variables.get(each) for each in (name, f"{name}_FILE"))

    def secret(self, name: str) -> str | None:
        """Read a secret from the file that ``{name}_FILE`` names, else from ``name``.

        Raises:
            SettingError: The file is unreadable.
        """
        self._check(name)
        path = self._variables.get(f"{name}_FILE")
        if not path:
            return self.get(name)
        # The message has neither the path nor the content: people who confuse the
        # two variables put the secret itself into this one.
        try:
            return Path(path).read_text(encoding="utf-8").strip() or None
        except OSError as exc:
            why = exc.strerror
        except ValueError:
            why = "it is not UTF-8 text"
        raise SettingError(f"{name}_FILE names a file that cannot be read: {why}")

    def _check(self, name: str) -> None:
        if self._declared is not None and name not in self._declared:
            raise UndeclaredSettingError(name)
