"""A pool of children: crashes, hangs and deaths cost one recording each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from consumers.audio import process
from consumers.audio.media import MediaLimits, OpusSettings, Transcoded
from consumers.audio.messages import MessageSocket
from consumers.audio.pool import TranscoderPool
from consumers.audio.process import TranscoderProcess
from consumers.errors import BadAudioError, TransientError
from tests.harness.polling import eventually
from tests.harness.samples.sounds import silence, transcoded, voice, wav

ROOT = Path(__file__).parents[2]
SHORT = wav(voice(0.5))
LONG = wav(silence(3600, 8_000), 8_000)
LIMITS = MediaLimits()
SHUTDOWN_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture
def pool() -> Iterator[TranscoderPool]:
    with TranscoderPool(1, OpusSettings(), LIMITS) as pool:
        yield pool


@contextmanager
def busy(pool: TranscoderPool, media: bytes = LONG) -> Iterator[tuple[int, Future[Transcoded]]]:
    """A pool whose only child is in the middle of a long recording: its pid, and what will be."""
    with (
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as output,
        ThreadPoolExecutor(1) as thread,
    ):
        source.write(media)
        future = thread.submit(pool.transcode, source, "wav", output)
        eventually(lambda: written(output) > 0)
        (pid,) = pool.pids()
        yield pid, future


def written(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def gone(pid: int) -> bool:
    """Whether a process is no more, or only waits to be reaped."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def status(pid: int, name: str) -> int:
    """A number (KiB, for memory) of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def test_a_warm_child_serves_many_recordings_and_leaks_nothing(pool: TranscoderPool) -> None:
    for _ in range(20):
        transcoded(pool, SHORT)
    (child,) = pool.pids()
    files, memory = open_files(), status(child, "VmRSS")

    # The child may hold eight descriptors, so a leak of its own would stop it soon.
    for _ in range(200):
        transcoded(pool, SHORT)

    assert pool.pids() == {child}
    assert open_files() == files
    assert status(child, "Threads") == 1
    assert status(child, "VmRSS") < memory + 4096


def test_a_pool_starts_children_when_they_are_needed_and_ends_them() -> None:
    pool = TranscoderPool(2, OpusSettings(), LIMITS)
    files, threads = open_files(), threading.active_count()
    assert not pool.pids()
    transcoded(pool, SHORT)
    (child,) = pool.pids()

    pool.close()
    pool.close()

    assert gone(child)
    assert not pool.pids()
    assert (open_files(), threading.active_count()) == (files, threads)


def test_a_child_outlives_the_thread_that_first_needed_it(pool: TranscoderPool) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(transcoded, pool, SHORT).result()
    children = pool.pids()
    time.sleep(0.1)

    transcoded(pool, SHORT)

    assert pool.pids() == children


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_child_that_crashes_costs_its_recording(
    pool: TranscoderPool, signal_number: signal.Signals
) -> None:
    with busy(pool) as (child, future):
        os.kill(child, signal_number)
        with pytest.raises(BadAudioError, match=rf"crashed \(signal {signal_number:d}\)"):
            future.result()

    transcoded(pool, SHORT)
    assert child not in pool.pids()


@pytest.mark.parametrize("signal_number", SHUTDOWN_SIGNALS)
def test_a_signal_to_the_whole_service_does_not_end_work_under_way(
    pool: TranscoderPool, signal_number: signal.Signals
) -> None:
    with busy(pool, wav(silence(300, 8_000), 8_000)) as (child, future):
        assert not future.done()
        for pid in pool.pids():
            os.kill(pid, signal_number)

        assert future.result().duration == 300
    assert pool.pids() == {child}


@pytest.mark.parametrize("signal_number", SHUTDOWN_SIGNALS)
def test_a_child_that_is_only_being_started_survives_the_signal_too(
    signal_number: signal.Signals,
) -> None:
    channel, child = process._spawned()
    with child, channel:
        os.kill(child.pid, signal_number)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=1)

        channel.close()

        assert child.wait(timeout=20) == 0


def test_starting_a_child_leaves_the_threads_own_signals_as_they_were() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    child = TranscoderProcess(OpusSettings(), LIMITS, -60.0)
    child.close()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_a_cancelled_child_is_not_the_recordings_fault(
    pool: TranscoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A child without its protection: it is born with nothing blocked.
    monkeypatch.setattr(process, "_shutdown_signals_blocked", nullcontext)
    with busy(pool) as (child, future):
        # Not SIGHUP: whoever runs the tests under nohup has all of them ignore it.
        os.kill(child, signal.SIGTERM)
        with pytest.raises(TransientError, match=r"terminated \(signal 15\)"):
            future.result()
    monkeypatch.undo()

    transcoded(pool, SHORT)
    assert child not in pool.pids()


def test_a_child_that_ends_before_it_takes_a_recording_is_not_its_fault() -> None:
    child = TranscoderProcess(OpusSettings(), LIMITS, -60.0)
    with closing(child), tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(SHORT)
        os.kill(child.pid, signal.SIGSTOP)
        end = threading.Timer(0.3, child.kill)
        end.start()
        with pytest.raises(TransientError, match="ended before it took a recording"):
            child.transcode(source, "wav", output)
        end.join()


def test_a_child_that_takes_no_recording_in_time_is_not_its_fault() -> None:
    child = TranscoderProcess(OpusSettings(), replace(LIMITS, stall_seconds=0.3), -60.0)
    with closing(child), tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(SHORT)
        os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(TransientError, match="cannot be handed to a decoder"):
            child.transcode(source, "wav", output)


def test_a_child_that_dies_between_recordings_costs_none(pool: TranscoderPool) -> None:
    transcoded(pool, SHORT)
    (child,) = pool.pids()
    os.kill(child, signal.SIGKILL)
    eventually(lambda: gone(child))

    transcoded(pool, SHORT)


def test_a_child_that_hangs_is_killed() -> None:
    with TranscoderPool(1, OpusSettings(), replace(LIMITS, stall_seconds=2)) as pool:
        with busy(pool) as (child, future):
            os.kill(child, signal.SIGSTOP)
            with pytest.raises(BadAudioError, match="hung: no progress for 2 s"):
                future.result()

        assert gone(child)
        transcoded(pool, SHORT)


def test_a_slow_recording_does_not_hang_while_it_progresses() -> None:
    with TranscoderPool(1, OpusSettings(), replace(LIMITS, stall_seconds=1.5)) as pool:
        with busy(pool) as (child, future):
            time.sleep(3)
            assert not future.done()
            assert pool.pids() == {child}
            pool.close()
        assert isinstance(future.exception(), TransientError)


def test_a_child_that_met_a_bad_file_is_replaced(pool: TranscoderPool) -> None:
    transcoded(pool, SHORT)
    before = pool.pids()
    with pytest.raises(BadAudioError):
        transcoded(pool, SHORT[:46])

    transcoded(pool, SHORT)

    assert not pool.pids() & before


def test_a_child_is_replaced_before_leaks_add_up() -> None:
    with TranscoderPool(1, OpusSettings(), LIMITS, jobs_per_child=2) as pool:
        seen = set[int]()
        for _ in range(5):
            transcoded(pool, SHORT)
            seen |= pool.pids()
    assert len(seen) == 3


def test_four_threads_share_two_children() -> None:
    sounds = [wav(voice(0.5 + 0.25 * n)) for n in range(12)]
    with TranscoderPool(2, OpusSettings(), LIMITS) as pool, ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda media: transcoded(pool, media), sounds))
        assert len(pool.pids()) == 2

    assert [facts.duration for facts, _ in results] == [0.5 + 0.25 * n for n in range(12)]
    assert [facts.size for facts, _ in results] == [len(opus) for _, opus in results]


def test_closing_ends_running_and_waiting_work() -> None:
    pool = TranscoderPool(1, OpusSettings(), LIMITS)
    with busy(pool) as (child, future), ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(transcoded, pool, SHORT)

        pool.close()

        assert gone(child)
        for interrupted in (future, waiting):
            with pytest.raises(TransientError, match="shut down"):
                interrupted.result()
    with pytest.raises(TransientError, match="shut down"):
        transcoded(pool, SHORT)


def test_the_source_is_not_written_and_positions_stay(pool: TranscoderPool) -> None:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(SHORT)
        output.write(b"an older and much longer result" * 1000)
        output.seek(0)
        source.seek(11)

        facts = pool.transcode(source, "wav", output)

        assert (source.tell(), output.tell()) == (11, 0)
        assert len(output.read()) == facts.size < 10_000
        source.seek(0)
        assert source.read() == SHORT


def test_a_file_opened_for_reading_only_is_read(pool: TranscoderPool, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(SHORT)
    with (tmp_path / "a.wav").open("rb") as source, (tmp_path / "a.opus").open("wb") as output:
        assert pool.transcode(source, "wav", output).duration == 0.5


def test_a_child_gets_no_secret_and_no_terminal(
    pool: TranscoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    transcoded(pool, SHORT)
    (child,) = pool.pids()

    environment = Path(f"/proc/{child}/environ")
    if not os.access(environment, os.R_OK):
        pytest.skip("only root may look into a child that cannot be traced")
    names = {line.partition(b"=")[0] for line in environment.read_bytes().split(b"\0") if line}
    numpy = b"OPENBLAS_NUM_THREADS"
    assert names <= {b"PATH", b"LANG", b"PYTHONPATH", b"LD_LIBRARY_PATH", numpy}
    files = {str(link.readlink()) for link in Path(f"/proc/{child}/fd").iterdir()}
    assert {name for name in files if not name.startswith(("socket:", "pipe:"))} == {"/dev/null"}
    assert os.getsid(child) == child
    assert Path(f"/proc/{child}/cwd").readlink() == Path("/")


def test_a_machine_short_of_memory_ends_a_child_first(pool: TranscoderPool) -> None:
    transcoded(pool, SHORT)
    (child,) = pool.pids()
    assert Path(f"/proc/{child}/oom_score_adj").read_text() == "1000\n"


def test_a_pool_has_children() -> None:
    with pytest.raises(ValueError, match="needs a child"):
        TranscoderPool(0, OpusSettings(), LIMITS)


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python"])
def test_a_child_that_cannot_start_is_not_the_recordings_fault(
    pool: TranscoderPool, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    files = open_files()
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(TransientError, match="no decoder process can be started"):
        transcoded(pool, SHORT)
    assert open_files() == files

    monkeypatch.undo()
    transcoded(pool, SHORT)


def test_children_go_away_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    media = tmp_path / "long.wav"
    media.write_bytes(LONG)
    script = textwrap.dedent(f"""
        import tempfile, threading, time
        from consumers.audio.media import MediaLimits, OpusSettings
        from consumers.audio.pool import TranscoderPool
        pool = TranscoderPool(2, OpusSettings(), MediaLimits())
        for _ in range(2):
            source, output = open({str(media)!r}, "rb"), tempfile.TemporaryFile()
            threading.Thread(target=pool.transcode, args=(source, "wav", output)).start()
        while len(pool.pids()) < 2:
            time.sleep(0.05)
        print(*pool.pids(), flush=True)
        time.sleep(60)
    """)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        assert not any(map(gone, children))
        parent.kill()

    eventually(lambda: all(map(gone, children)))


@pytest.mark.parametrize(
    "answer",
    [
        b"not JSON",
        b"[]",
        b"[" * 60_000,
        b"\xff\xfe",
        b'{"neither": 1}',
        b'{"bad": 1}',
        b'{"transcoded": {}}',
        b'{"transcoded": {"duration": NaN, "codec": "mp3", "sample_rate": 1, "channels": 1}}',
        b'{"transcoded": {"duration": 1, "codec": "../\\u001b[2J", "sample_rate": 1}}',
        b'{"transcoded": {"duration": 1e999, "codec": "mp3", "sample_rate": 1, "channels": 1}}',
    ],
)
def test_an_answer_of_a_child_that_was_taken_over_is_not_believed(answer: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with MessageSocket(ours) as channel, theirs:
        theirs.send(answer)
        with pytest.raises(ValueError):  # noqa: PT011 - whichever check finds it
            TranscoderProcess._result(channel.receive(timeout=1), 1000)


def test_a_childs_words_are_made_fit_for_a_terminal() -> None:
    with pytest.raises(BadAudioError) as caught:
        TranscoderProcess._result({"bad": "no\x1b[2Jsuch\n\u202ecodec" + "!" * 5000}, 0)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) == 300
