"""What a recogniser takes and gives, whichever model is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consumers.documents.transcript import Transcript
from consumers.errors import PermanentError, TransientError, is_device_fault

SAMPLE_RATE = 16_000

Recognition: TypeAlias = Transcript | PermanentError | TransientError


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """One recording's sound: float32 samples from -1 to 1, 16 kHz, mono."""

    audio_id: str
    samples: NDArray[np.float32]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


class Recogniser(Protocol):
    """Turns recordings into transcripts, many at a time."""

    @property
    def name(self) -> str:
        """The model's name, as it is stored with each transcript."""

    def transcribe(self, group: Sequence[Waveform]) -> Sequence[Recognition]:
        """One outcome per recording, in the group's order.

        Errors are returned and not raised, so that one bad recording never costs
        its group.
        """


def recognition_error(exc: Exception, audio_id: str) -> PermanentError | TransientError:
    """Turn an error into the recording's result, with its cause kept."""
    if isinstance(exc, PermanentError | TransientError):
        return exc
    reason = f"{type(exc).__name__}: {exc}"
    error: PermanentError | TransientError
    if is_device_fault(exc):
        error = TransientError(f"the device failed while {audio_id} was recognised: {reason}")
    else:
        error = PermanentError(f"{audio_id} cannot be recognised: {reason}")
    error.__cause__ = exc
    return error
