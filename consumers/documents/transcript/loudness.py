"""The level of the sound under each segment: words over silence are hallucinated."""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from consumers.documents.transcript.document import QUIETEST_DBFS, Segment, Transcript


def with_loudness(
    transcript: Transcript, samples: NDArray[np.float32], sample_rate: int
) -> Transcript:
    """Measure the sound of each segment.

    Args:
        transcript: The recording's.
        samples: The whole recording: mono, within [-1, 1], shape ``(samples,)``.
        sample_rate: Hz.

    Returns:
        The transcript with levels; a segment outside the recording keeps None.
    """
    segments = (
        replace(segment, loudness_dbfs=_level(_under(segment, samples, sample_rate)))
        for segment in transcript.segments
    )
    return replace(transcript, segments=tuple(segments))


def _under(segment: Segment, samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    first, last = (max(0, round(time * sample_rate)) for time in (segment.start, segment.end))
    return samples[first:last]


def _level(samples: NDArray[np.float32]) -> float | None:
    """RMS in dB of full scale."""
    if not samples.size:
        return None
    # Summed in doubles, without a copy of the samples.
    energy = float(np.einsum("i,i->", samples, samples, dtype=np.float64)) / samples.size
    if not energy:
        return QUIETEST_DBFS
    return max(QUIETEST_DBFS, round(10 * math.log10(energy), 2))
