"""A pool of confined child processes that turn media into Opus."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from consumers.audio.media import MediaLimits, OpusSettings, Transcoded
from consumers.audio.process import TranscoderProcess
from consumers.audio.signatures import DEMUXERS
from consumers.errors import BadAudioError, TransientError, UnknownFormatError

_CLOSED = "the transcoders are shut down"


class TranscoderPool:
    """Keeps up to ``size`` children running; any number of threads may use it.

    A child serves one file at a time. It is replaced when it dies, after a file that it could
    not decode (which may have compromised it), and after ``jobs_per_child`` files, before
    leaks in decoders add up.
    """

    def __init__(
        self,
        size: int,
        opus: OpusSettings,
        limits: MediaLimits,
        silence_dbfs: float = -60.0,
        *,
        jobs_per_child: int = 500,
    ) -> None:
        if size < 1:
            raise ValueError(f"a pool needs a child: {size}")
        self._opus = opus
        self._limits = limits
        self._silence_dbfs = silence_dbfs
        self._jobs_per_child = jobs_per_child
        self._size = size
        self._changed = threading.Condition()
        self._borrowed = 0
        self._idle: list[TranscoderProcess] = []
        self._busy: set[TranscoderProcess] = set()
        self._closed = False
        # The kernel kills children when the thread that started them ends, so that thread
        # must live as long as the pool; callers' threads may not.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="transcoder-starter")

    def __enter__(self) -> TranscoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def transcode(self, source: BinaryIO, demuxer: str | None, output: BinaryIO) -> Transcoded:
        """Transcode an open file in the next free child.

        Args:
            source: A real file, named or not; read from its start.
            demuxer: FFmpeg's name of its format, from ``sniff``; None: the child finds it out.
            output: A real file, whose content the Opus replaces. Neither file's position
                changes.

        Raises:
            UnknownFormatError: The child does not find it out.
            BadAudioError: The media is at fault: it cannot be decoded, holds no sound, exceeds
                a limit, or crashed or hung the decoder.
            TransientError: No child can be started, the child ended before it took the file or
                by a shutdown signal, our disk is full or failing, or the pool is closed.
        """
        if demuxer is not None and demuxer not in DEMUXERS:
            raise ValueError(f"not a demuxer that may be used: {demuxer!r}")
        with self._child() as child:
            try:
                return child.transcode(source, demuxer, output)
            except UnknownFormatError as exc:
                unknown = exc
            except BadAudioError as exc:
                if self._closed:
                    raise TransientError(_CLOSED) from exc
                raise
        raise unknown

    def pids(self) -> frozenset[int]:
        """Return the process ids of the living children."""
        with self._changed:
            return frozenset(c.pid for c in (*self._idle, *self._busy) if not c.exited())

    def close(self) -> None:
        """Kill all children, busy ones too, and wait for their end; may be repeated."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._idle:
                self._idle.pop().close()
            for child in self._busy:
                child.kill()
            self._changed.wait_for(lambda: self._borrowed == 0)
        self._starter.shutdown()

    @contextlib.contextmanager
    def _child(self) -> Iterator[TranscoderProcess]:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._borrowed < self._size)
            if self._closed:
                raise TransientError(_CLOSED)
            self._borrowed += 1
        child: TranscoderProcess | None = None
        fit = False
        try:
            child = self._taken() or self._started()
            yield child
            fit = child.jobs < self._jobs_per_child
        finally:
            self._give_back(child, fit=fit)

    def _taken(self) -> TranscoderProcess | None:
        with self._changed:
            while self._idle:
                child = self._idle.pop()
                if not child.exited():
                    self._busy.add(child)
                    return child
                child.close()
        return None

    def _started(self) -> TranscoderProcess:
        start = self._starter.submit(
            TranscoderProcess, self._opus, self._limits, self._silence_dbfs
        )
        child = start.result()
        with self._changed:
            self._busy.add(child)
            if self._closed:
                child.kill()
        return child

    def _give_back(self, child: TranscoderProcess | None, *, fit: bool) -> None:
        with self._changed:
            if child is not None:
                self._busy.discard(child)
                if fit and not self._closed:
                    self._idle.append(child)
                else:
                    child.close()
            self._borrowed -= 1
            self._changed.notify_all()
