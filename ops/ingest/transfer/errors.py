"""What can go wrong with another machine and its files."""

from __future__ import annotations

from consumers.errors import PermanentError, TransientError


class BrokenError(TransientError):
    """The connection broke, or could not be made: it can be made again."""


class AwayError(TransientError):
    """A machine can't be reached, and was tried as often as it may be."""


class HostKeyError(PermanentError):
    """A machine could not show that it is the one that is known by its name."""


class FileError(PermanentError):
    """A file or folder of another machine is not there, or can't be read."""


class GoneError(FileError):
    """A file or folder of another machine is not there."""


class ChangedError(FileError):
    """A file is not what it was when it was begun."""
