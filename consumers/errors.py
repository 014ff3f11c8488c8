"""The kinds of error that the consumers know: transient and permanent.

Every adapter translates its library's exceptions into one of these, once
(``raise ... from exc``); the rest of the code never names a library's error.
An instance's message is shown to people: it says what is wrong with what.
"""

from __future__ import annotations

import re

# CTranslate2 and PyTorch both raise RuntimeError and name the cause in the text only:
# "CUDA failed with error out of memory", "DefaultCPUAllocator: can't allocate memory".
_DEVICE_FAULT = re.compile(r"out of memory|can't allocate memory|CUDA|cuBLAS|cuDNN", re.IGNORECASE)


class TransientError(Exception):
    """Something is away or busy; the same delivery can succeed later."""


class PermanentError(Exception):
    """The input itself is at fault; trying again cannot help."""


class BadArchiveError(PermanentError):
    """The archive cannot be read, or not to its end."""


class BadAudioError(PermanentError):
    """One recording cannot be decoded; the rest of its batch is not concerned."""


class BusyError(TransientError):
    """Another worker has the same work in hand; look again when it is done."""


class ConfigurationError(Exception):
    """The settings, or what is installed, do not allow it; the message says what to do."""


class ClockError(ConfigurationError):
    """This host's clock is so far off that no signed request is accepted."""


def is_device_fault(exc: Exception) -> bool:
    """Whether memory or the GPU failed under a model; the recording may be perfectly good."""
    return isinstance(exc, MemoryError) or (
        isinstance(exc, RuntimeError) and _DEVICE_FAULT.search(str(exc)) is not None
    )
