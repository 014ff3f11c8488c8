"""Turns decoded frames of any kind into frames of one sample rate and format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph
from numpy.typing import NDArray

_FULL_SCALE = 1 << 15

Planes = NDArray[np.int16]
"""Sound of one or more channels, shape ``(channels, samples)``."""


class Resampler:
    """Resamples each channel on its own; the frames' format may change within a stream."""

    def __init__(self, sample_rate: int, sample_format: str) -> None:
        self._sample_rate = sample_rate
        self._sample_format = sample_format
        self._graph: Graph | None = None
        self._shape: tuple[str, str, int] | None = None
        self._pushed = 0

    def convert(self, frame: AudioFrame | None) -> Iterable[AudioFrame]:
        """Convert one frame; None flushes the rest.

        Returns:
            Frames of one second; shorter before a change of format and at the end.
        """
        shape = _shape(frame) if frame is not None else None
        if frame is None or self._graph is None or shape != self._shape:
            return self._changed(frame, shape)
        return self._pushed_on(self._graph, frame)

    def _changed(
        self, frame: AudioFrame | None, shape: tuple[str, str, int] | None
    ) -> Iterator[AudioFrame]:
        """End what was converted so far, and begin anew with a frame of another format."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._finished()
            self._graph = None
        if frame is not None:
            self._graph = self._built(frame)
            self._shape = shape
            yield from self._pushed_on(self._graph, frame)

    def _pushed_on(self, graph: Graph, frame: AudioFrame) -> Iterable[AudioFrame]:
        graph.push(frame)
        self._pushed += frame.samples
        # An empty pull is expensive, and a second has dozens of frames.
        if self._pushed < frame.sample_rate:
            return ()
        self._pushed = 0
        return self._finished()

    def forget(self) -> None:
        """Begin anew, without what was not yet yielded."""
        self._graph = None

    def _finished(self) -> Iterator[AudioFrame]:
        while self._graph is not None:
            try:
                frame = self._graph.pull()
            except (BlockingIOError, EOFError):
                return
            if isinstance(frame, AudioFrame):
                yield frame

    def _built(self, frame: AudioFrame) -> Graph:
        graph = Graph()
        # Without it, a thread per processor. PyAV 15 has no such attribute.
        if hasattr(graph, "threads"):
            graph.threads = 1
        source = graph.add(
            "abuffer",
            sample_rate=str(frame.sample_rate),
            sample_fmt=frame.format.name,
            channel_layout=frame.layout.name,
            time_base=f"1/{frame.sample_rate}",
        )
        # Given no layout, FFmpeg keeps the source's, whatever it is, and mixes nothing.
        target = graph.add(
            "aformat", sample_rates=str(self._sample_rate), sample_fmts=self._sample_format
        )
        graph.link_nodes(source, target, graph.add("abuffersink")).configure()
        graph.set_audio_frame_size(self._sample_rate)
        return graph


def planes(frame: AudioFrame) -> Planes:
    """Return a packed frame of 16 bits as an array, which shares its memory.

    PyAV counts the planes of a planar frame wrongly where it has eight.
    """
    channels = frame.layout.nb_channels
    packed = memoryview(frame.planes[0])
    samples: NDArray[np.int16] = np.frombuffer(packed, np.int16)[: frame.samples * channels]
    return samples.reshape(-1, channels).T


def distinct(block: Planes) -> Planes:
    """Return the first channel alone where all are copies of it, as in most files with two."""
    if len(block) > 1 and (block[1:] == block[0]).all():
        return np.ascontiguousarray(block[:1])
    return block


def repeated(block: Planes, channels: int) -> Planes:
    """Give a block of one channel so many copies of it, which share its memory."""
    return block if len(block) == channels else np.broadcast_to(block, (channels, block.shape[1]))


def floats(block: Planes) -> NDArray[np.float32]:
    """Return the samples within [-1, 1)."""
    scaled = block.astype(np.float32)
    scaled /= _FULL_SCALE
    return scaled


def samples(sound: NDArray[np.float32]) -> Planes:
    """Return sound within [-1, 1) as samples of 16 bits; what is beyond is clipped."""
    scaled = sound * _FULL_SCALE
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1, out=scaled).astype(np.int16)


def _shape(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
