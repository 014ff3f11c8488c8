"""Places a track's decoded frames at their times; silence of the same length fills gaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from av.audio.frame import AudioFrame

from consumers.audio.notelog import NoteLog
from consumers.audio.resample import Planes, Resampler, planes
from consumers.documents.note import Note, NoteCode

JITTER_SECONDS = 0.05
"""By so much timestamps may be off without a gap."""

# Decoders leave out so much at the start, or less, without saying it by timestamps.
_START_SECONDS = 0.1
# A jump of so much counts only if a second frame confirms it: one may have a broken timestamp.
_DOUBTFUL_SECONDS = 1.0
_EXACT_SECONDS = 0.001
_HORIZON_MARGIN_SECONDS = 1.0
_LONGEST_UNDECLARED_GAP = 3600.0
# Decoders and pages of packets let damage be seen somewhat before the gap that it leaves.
_LAG_SECONDS = 1.0
# Of bytes that are missing, a page of packets, for which times are counted on.
_LONGEST_LAG_SECONDS = 3.0
# A gap for which there are so many of the bytes that it would take is none of the recording's.
_LEAST_SKIPPED = 0.3


@dataclass(slots=True)
class Interruption:
    """What happened to a track since its last frame, in packets and in seconds of sound."""

    packets: int = 0
    """Packets that could not be decoded."""
    lost: float = 0.0
    """Their duration."""
    pause: float = 0.0
    """Duration of packets that hold no sound by intention."""
    damaged: bool = False
    """Whether parts of the file could not be read."""
    skipped: float = 0.0
    """Bytes that belong to no packet, in seconds at the file's bit rate."""

    @property
    def is_none(self) -> bool:
        """Whether nothing happened."""
        return not (self.packets or self.lost or self.pause or self.damaged or self.skipped)

    @property
    def known(self) -> float:
        """Seconds that are known to be missing."""
        return self.lost + self.pause


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a track's timestamps may say. Times are the container's, in seconds."""

    start: float = 0.0
    """When the container starts."""
    horizon: float | None = None
    """Seconds after the start at which it ends, if it says so."""
    longest_gap: float = _LONGEST_UNDECLARED_GAP
    """A longer jump is a break in the timestamps."""
    has_gaps: bool = True
    """Whether such a container can have times without sound that are no damage."""


class TimeLine:
    """The sound of one track from its container's start on, at one sample rate.

    What it yields has the channels of the frames; silence that it puts in has one.
    """

    def __init__(self, sample_rate: int, bounds: Bounds, log: NoteLog, track: str = "") -> None:
        """Begin at the container's start.

        Args:
            sample_rate: Of the result, in Hz.
            bounds: What the timestamps may say.
            log: For what is not as it should be.
            track: Introduces texts of notes.
        """
        self.here = 0.0
        """Seconds from the container's start to the end of the sound so far."""
        self.decoded = 0.0
        """Seconds of sound without the silence that was put in."""
        self.channels = 0
        """Of the frame with most channels so far."""
        self.offset = 0.0
        """Seconds that the notes' times are later than this track's."""
        self._sample_rate = sample_rate
        self._bounds = bounds
        self._log = log
        self._track = track
        self._resampler = Resampler(sample_rate, "s16")
        self._written = 0
        # What is added to the container's times; broken timestamps change it.
        self._shift = -bounds.start
        self._shift_before = self._shift
        # Where damage was last seen, and how much: decoders lag behind the packets.
        self._damaged_at = self._skipped_at = -math.inf
        self._skipped = 0.0
        self._held: tuple[AudioFrame, float, Interruption] | None = None

    def add(
        self, frame: AudioFrame, time: float | None, since: Interruption | None = None
    ) -> Iterable[Planes]:
        """Place a frame.

        Args:
            frame: Of any format.
            time: The container's time of its first sample, in seconds, if it has one.
            since: What happened since the frame before, if anything.
        """
        # Almost all frames follow the one before, and are dozens a second.
        self.channels = max(self.channels, frame.layout.nb_channels)
        if (
            since is None
            and self._held is None
            and self.decoded
            and time is not None
            and abs(time + self._shift - self.here) <= JITTER_SECONDS
        ):
            return self._append(frame)
        return self._added(frame, time, since or Interruption())

    def _added(
        self, frame: AudioFrame, time: float | None, since: Interruption
    ) -> Iterator[Planes]:
        if self._held is not None:
            yield from self._settle(time)
        if time is None:
            yield from self._fill(self.here + since.known, since)
            yield from self._append(frame)
            return
        ahead = time + self._shift - self.here
        if ahead > max(_DOUBTFUL_SECONDS, since.known + JITTER_SECONDS) and not since.packets:
            self._held = frame, time, since
            return
        yield from self._place(frame, time, since)

    def begin_at_zero(self) -> None:
        """Count from the container's time zero, since its beginning is missing."""
        self._shift = self._shift_before = 0.0

    def forget(self) -> None:
        """Leave out the last frame, which cannot be resampled."""
        self._resampler.forget()

    def finish(self, since: Interruption) -> Iterator[Planes]:
        """End the sound; lost packets at the end become silence too."""
        if self._held is not None:
            frame, time, before = self._held
            self._held = None
            yield from self._place(frame, time, before)
        yield from self._fill(self.here + since.known, since)
        yield from self._flush()

    def _settle(self, time: float | None) -> Iterator[Planes]:
        """Decide by the next frame whether the held one had the right time."""
        assert self._held is not None  # noqa: S101 - for the type checker
        held, held_time, since = self._held
        self._held = None
        follows = held_time + held.samples / held.sample_rate
        if time is None or abs(time - follows) < _DOUBTFUL_SECONDS:
            yield from self._place(held, held_time, since)
        else:
            self._doubt()
            yield from self._append(held)

    def _place(self, frame: AudioFrame, time: float, since: Interruption) -> Iterator[Planes]:
        ahead = time + self._shift - self.here
        if abs(ahead) > JITTER_SECONDS and (
            abs(time + self._shift_before - self.here) <= JITTER_SECONDS
        ):
            # The timestamps are again what they were before a break.
            self._shift, self._shift_before = self._shift_before, self._shift
            ahead = time + self._shift - self.here
        if since.damaged:
            self._damaged_at = self.here
        if since.skipped:
            self._skipped_at, self._skipped = self.here, since.skipped
        if ahead > self._tolerance(since):
            if ahead <= since.known + JITTER_SECONDS or self._is_plausible(ahead):
                yield from self._fill(self.here + ahead, since)
            else:
                self._doubt()
                yield from self._fill(self.here + since.known, since)
                self._anchor(time)
        elif ahead < -_DOUBTFUL_SECONDS:
            self._doubt()
            yield from self._fill(self.here + since.known, since)
            self._anchor(time)
        elif not self.decoded:
            self._shift -= ahead
        yield from self._append(frame)

    def _tolerance(self, since: Interruption) -> float:
        if since.known:
            return _EXACT_SECONDS
        return JITTER_SECONDS if self.decoded else _START_SECONDS

    def _is_plausible(self, ahead: float) -> bool:
        bounds = self._bounds
        if ahead > bounds.longest_gap:
            return False
        if bounds.horizon is None:
            return True
        return self.here + ahead <= bounds.horizon + _HORIZON_MARGIN_SECONDS

    def _anchor(self, time: float) -> None:
        """Let this time be now."""
        self._shift_before = self._shift
        self._shift = self.here - time

    def _doubt(self) -> None:
        here = round(self.offset + self.here, 3)
        text = f"{self._track}the timestamps in the file jump; the sound goes on without a break"
        self._log.add(Note(NoteCode.TIMESTAMPS, text, here))

    def _append(self, frame: AudioFrame) -> Sequence[Planes]:
        seconds = frame.samples / frame.sample_rate
        self.here += seconds
        self.decoded += seconds
        blocks = self._resampler.convert(frame)
        return self._counted(blocks) if blocks else ()

    def _fill(self, end: float, since: Interruption) -> Iterator[Planes]:
        """Put silence between the sound so far and a time."""
        start = self.here
        if end <= start:
            return
        yield from self._flush()
        self.here = end
        left = round(end * self._sample_rate) - self._written
        while left > 0:
            block = np.zeros((1, min(left, self._sample_rate)), np.int16)
            left -= block.shape[1]
            self._written += block.shape[1]
            yield block
        self._note(start + min(since.pause, end - start), end, since)

    def _note(self, start: float, end: float, since: Interruption) -> None:
        is_damage = (
            since.packets > 0
            or not self._bounds.has_gaps
            or since.damaged
            or start - self._damaged_at <= _LAG_SECONDS
            or (
                start - self._skipped_at <= _LONGEST_LAG_SECONDS
                and self._skipped >= _LEAST_SKIPPED * (end - start)
            )
        )
        self._damaged_at = self._skipped_at = -math.inf
        if end - start <= (0 if since.packets else JITTER_SECONDS):
            return
        if is_damage:
            code = NoteCode.DAMAGED
        else:
            code = NoteCode.GAP if self.decoded else NoteCode.LATE_START
        start, end = start + self.offset, end + self.offset
        self._log.silence(code, start, end, packets=since.packets, track=self._track)

    def _flush(self) -> Sequence[Planes]:
        return self._counted(self._resampler.convert(None))

    def _counted(self, frames: Iterable[AudioFrame]) -> Sequence[Planes]:
        counted = []
        for frame in frames:
            self._written += frame.samples
            counted.append(planes(frame))
        return counted
