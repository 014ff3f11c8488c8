"""Errors of other machines and their files."""

from __future__ import annotations

from consumers.errors import PermanentError, TransientError


class BrokenError(TransientError):
    """The connection broke, or could not be made; another attempt may succeed."""


class AwayError(TransientError):
    """A machine is unreachable after all attempts."""


class FileError(PermanentError):
    """A file or folder of another machine is missing or unreadable."""


class GoneError(FileError):
    """A file or folder of another machine is missing."""


class ChangedError(FileError):
    """A file changed while it was transferred."""
