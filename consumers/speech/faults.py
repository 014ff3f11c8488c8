"""Whose fault a library's error is: the device's, or the recording's."""

from __future__ import annotations

import re

from consumers.errors import PermanentError, TransientError

# CTranslate2 and PyTorch both raise RuntimeError and say in words what it is about:
# "CUDA failed with error out of memory", "DefaultCPUAllocator: can't allocate memory".
DEVICE = re.compile(r"out of memory|can't allocate memory|CUDA|cuBLAS|cuDNN", re.IGNORECASE)


def is_device_fault(exc: Exception) -> bool:
    """True where memory or the GPU failed, and the recording may be perfectly good."""
    return isinstance(exc, MemoryError) or (
        isinstance(exc, RuntimeError) and DEVICE.search(str(exc)) is not None
    )


def as_outcome(exc: Exception, audio_id: str) -> PermanentError | TransientError:
    """The error as this recording's outcome, with its cause kept."""
    if isinstance(exc, PermanentError | TransientError):
        return exc
    words = f"{type(exc).__name__}: {exc}"
    outcome: PermanentError | TransientError
    if is_device_fault(exc):
        outcome = TransientError(f"the device failed while {audio_id} was recognised: {words}")
    else:
        outcome = PermanentError(f"{audio_id} cannot be recognised: {words}")
    outcome.__cause__ = exc
    return outcome
