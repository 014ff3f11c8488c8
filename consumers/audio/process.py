"""The parent's side of one child: starts it, gives it files, awaits its answers, ends it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from consumers.audio.media import MediaLimits, OpusSettings, Transcoded, printable
from consumers.audio.messages import MessageSocket, PeerGoneError
from consumers.errors import BadAudioError, TransientError, UnknownFormatError

_START_SECONDS = 60.0
_END_SECONDS = 5.0
_IMPORT_ROOT = Path(__file__).parents[2]
_REASON_CHARACTERS = 300
# A service manager and a terminal send these to every process of a service, also to the
# children; the parent decides whether work in progress is finished.
_SHUTDOWN_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class TranscoderProcess:
    """One child, for one thread at a time. The thread that makes it must outlive it."""

    def __init__(
        self,
        opus: OpusSettings,
        limits: MediaLimits,
        silence_dbfs: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start a child and wait until it is confined and ready.

        Raises:
            TransientError: It cannot be started, or cannot confine itself.
        """
        self.jobs = 0
        """Files given to it so far."""
        self._limits = limits
        self._clock = clock
        try:
            self._channel, self._process = _spawned()
        except OSError as exc:
            raise TransientError(f"no decoder process can be started: {exc}") from exc
        setup = {
            "parent": os.getpid(),
            "opus": dataclasses.asdict(opus),
            "limits": dataclasses.asdict(limits),
            "silence_dbfs": silence_dbfs,
        }
        try:
            self._channel.send(setup)
            self._channel.receive(timeout=_START_SECONDS)
        except (PeerGoneError, TimeoutError, ValueError) as exc:
            reason = self._last_words()
            raise TransientError(f"no decoder process can be started: {reason}") from exc
        if self._process.stderr is not None:
            self._process.stderr.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def exited(self) -> bool:
        """Whether it has ended, for any reason."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill it; any thread may call this."""
        self._process.kill()

    def close(self) -> None:
        """Kill it, and release its resources in this process."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def transcode(self, source: BinaryIO, demuxer: str | None, output: BinaryIO) -> Transcoded:
        """Have it transcode one open file into another; after other errors, discard it.

        Raises:
            UnknownFormatError: Its probe knows no such format; it is fit for other files.
            BadAudioError: The media is at fault.
            TransientError: The machine is at fault.
        """
        self.jobs += 1
        try:
            self._hand_over(source, demuxer, output)
        except PeerGoneError as exc:
            raise TransientError("a decoder ended before it took a recording") from exc
        except (OSError, ValueError) as exc:
            raise TransientError(f"a recording cannot be handed to a decoder: {exc}") from exc
        try:
            transcoded = self._result(self._answer(), os.fstat(output.fileno()).st_size)
            # A first version that was written and given up may have been longer.
            output.truncate(transcoded.size)
        except PeerGoneError as exc:
            raise self._fate() from exc
        except ValueError as exc:
            raise BadAudioError("the decoder sent an invalid answer") from exc
        return transcoded

    def _hand_over(self, source: BinaryIO, demuxer: str | None, output: BinaryIO) -> None:
        source.flush()
        output.truncate(0)
        with _reopened(source, os.O_RDONLY) as read, _reopened(output, os.O_WRONLY) as written:
            self._channel.send({"demuxer": demuxer}, [read, written])
        # Until the child acknowledges the file, no failure is the recording's fault.
        answer = self._channel.receive(timeout=self._limits.stall_seconds)
        if "taken" not in answer:
            raise ValueError(f"unexpected answer: {answer!r:.80}")

    def _answer(self) -> Mapping[str, object]:
        """Wait for the answer for as long as progress is reported and time is left."""
        end = self._clock() + self._limits.wall_seconds
        while True:
            left = end - self._clock()
            if left <= 0:
                raise BadAudioError(f"it takes more than {self._limits.wall_seconds:g} s to decode")
            try:
                message = self._channel.receive(timeout=min(left, self._limits.stall_seconds))
            except TimeoutError:
                if left < self._limits.stall_seconds:
                    continue
                seconds = self._limits.stall_seconds
                raise BadAudioError(f"the decoder hung: no progress for {seconds:g} s") from None
            if "seconds" not in message:
                return message

    @staticmethod
    def _result(answer: Mapping[str, object], written: int) -> Transcoded:
        match answer:
            case {"transcoded": dict(facts)}:
                return Transcoded.from_message(facts, written)
            case {"unknown": str(reason)}:
                raise UnknownFormatError(printable(reason, _REASON_CHARACTERS))
            case {"bad": str(reason)}:
                raise BadAudioError(printable(reason, _REASON_CHARACTERS))
            case {"transient": str(reason)}:
                raise TransientError(printable(reason, _REASON_CHARACTERS))
        raise ValueError(f"unexpected answer: {answer!r:.80}")

    def _fate(self) -> BadAudioError | TransientError:
        """Return the error for a child that ended without an answer."""
        code = self._process.wait()
        if -code in _SHUTDOWN_SIGNALS:
            return TransientError(f"the decoder was terminated (signal {-code})")
        if code == -signal.SIGPROF:
            seconds = self._limits.cpu_seconds
            return BadAudioError(f"it takes more than {seconds:g} s of processor time to decode")
        if code < 0:
            return BadAudioError(f"the decoder crashed (signal {-code})")
        return BadAudioError(f"the decoder crashed (exit status {code})")

    def _last_words(self) -> str:
        """End a child that did not start; return the last line of its traceback."""
        self._channel.close()
        try:
            _, stderr = self._process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, stderr = self._process.communicate()
        lines = stderr.decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it gives no reason")


def _spawned() -> tuple[MessageSocket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.ExitStack() as unwind, theirs:
        unwind.callback(ours.close)
        with _shutdown_signals_blocked():
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "consumers.audio.child", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        unwind.pop_all()
    return MessageSocket(ours), process


@contextlib.contextmanager
def _shutdown_signals_blocked() -> Iterator[None]:
    """Block them in this thread; a child started meanwhile has them blocked from its start."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SHUTDOWN_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment() -> dict[str, str]:
    """Return the child's environment, which holds no secret of ours."""
    environment = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(_IMPORT_ROOT),
        # numpy's library would start a thread per processor.
        "OPENBLAS_NUM_THREADS": "1",
    }
    # Some Pythons need it to find their libpython.
    if libraries := os.environ.get("LD_LIBRARY_PATH"):
        environment["LD_LIBRARY_PATH"] = libraries
    return environment


@contextlib.contextmanager
def _reopened(file: BinaryIO, mode: int) -> Iterator[int]:
    """Reopen a file, also an unnamed one, for one direction and with its own offset."""
    descriptor = os.open(f"/proc/self/fd/{file.fileno()}", mode | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
