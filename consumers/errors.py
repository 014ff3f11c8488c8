"""The kinds of error: transient and permanent.

Each adapter translates its library's exceptions into one of these, once (``raise ... from exc``);
other code never names a library's error. Messages are for people.
"""

from __future__ import annotations

import re

# CTranslate2 and PyTorch both raise RuntimeError and name the cause in the text only:
# "CUDA failed with error out of memory", "DefaultCPUAllocator: can't allocate memory".
_DEVICE_FAULT = re.compile(r"out of memory|can't allocate memory|CUDA|cuBLAS|cuDNN", re.IGNORECASE)


class TransientError(Exception):
    """A server or resource is unreachable or busy; the same delivery can succeed later."""


class PermanentError(Exception):
    """The input is at fault; a retry cannot help."""


class BadArchiveError(PermanentError):
    """The archive cannot be read, or not to its end."""


class BadAudioError(PermanentError):
    """One recording cannot be decoded; the others of its batch can be."""


class UnknownFormatError(BadAudioError):
    """Nothing shows that it is a recording."""


class BusyError(TransientError):
    """Another worker is doing the same work; try again when it has finished."""


class ConfigurationError(Exception):
    """A setting or the installation is at fault; the message names the remedy."""


class ClockError(ConfigurationError):
    """This host's clock is so far off that servers reject its signed requests."""


def install_hint(extra: str) -> str:
    """Say how to install the packages of an extra; the text can follow a colon."""
    return (
        f"install dropscribe with the extra {extra}, for example "
        f"pip install '.[{extra}]' in its checkout"
    )


def is_device_fault(exc: Exception) -> bool:
    """Whether memory or the GPU failed under a model; the recording may be perfectly good."""
    return isinstance(exc, MemoryError) or (
        isinstance(exc, RuntimeError) and _DEVICE_FAULT.search(str(exc)) is not None
    )
