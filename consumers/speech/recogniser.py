"""The interface of speech recognition, independent of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consumers.documents.transcript import Transcript
from consumers.errors import PermanentError, TransientError, is_device_fault

SAMPLE_RATE = 16_000
"""Hz."""

SampleArray: TypeAlias = NDArray[np.float32]

Recognition: TypeAlias = Transcript | PermanentError | TransientError


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """The sound of one recording or channel: samples from -1 to 1 at 16 kHz, mono.

    ``has_turns``: it is one of several channels, whose words belong into its pauses.
    """

    audio_id: str
    samples: SampleArray
    has_turns: bool = False

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


class Recogniser(Protocol):
    """Transcribes groups of recordings."""

    @property
    def name(self) -> str:
        """The model's name, stored with each transcript."""

    def transcribe(self, group: Sequence[Waveform]) -> Sequence[Recognition]:
        """Return one result per recording, in order.

        Errors are returned, not raised, so that one bad recording does not cost its group.
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
