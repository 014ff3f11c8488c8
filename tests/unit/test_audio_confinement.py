"""What a decoder that was taken over by its media could do: nothing. Probes run confined."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from consumers.audio import confinement, seccomp

ROOT = Path(__file__).parents[2]
PREPARED = """
import ctypes, mmap, os, resource, signal, socket, subprocess, sys, threading, time
from consumers.audio import confinement, seccomp
from consumers.audio.confinement import start_cpu_budget
from consumers.audio.media import MediaLimits

def attempt(probe):
    try:
        print("done", probe(), flush=True)
    except BaseException as exc:
        print(type(exc).__name__, flush=True)

MIB = 1 << 20
pair = socket.socketpair()
unconnected = socket.socket()
read_only = os.open("/etc/hostname", os.O_RDONLY)
scratch = os.memfd_create("scratch")
libc = ctypes.CDLL(None, use_errno=True)
"""


def ran(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREPARED + textwrap.dedent(script)],
        env={"PYTHONPATH": str(ROOT), "PATH": os.defpath, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def probed(probe: str, limits: str = "") -> str:
    """What becomes of an expression under confinement: "done" and its value, or its exception."""
    result = ran(f"confinement.confine(MediaLimits({limits}))\nattempt(lambda: {probe})")
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


UNREACHABLE = [
    "socket.socket()",
    "socket.socket(socket.AF_UNIX)",
    "unconnected.connect(('127.0.0.1', 1))",
    "unconnected.bind(('127.0.0.1', 0))",
    "os.execv('/bin/true', ['true'])",
    "subprocess.run(['/bin/true'])",
    "os.fork()",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "open('/etc/passwd')",
    "open('/proc/self/environ')",
    "open('/tmp/dropped', 'w')",
    "os.listdir('/')",
    "os.unlink('/tmp/dropped')",
    "os.mkdir('/tmp/dropped')",
    "os.chdir('/')",
    "os.kill(os.getpid(), signal.SIGTERM)",
    "os.kill(1, 0)",
    "os.dup(0)",
    "os.memfd_create('code')",
]
CALLS = ["ptrace", "process_vm_readv", "unshare", "prctl", "prlimit"]


@pytest.fixture(scope="module")
def answers() -> list[str]:
    """What becomes of these attempts, one after the other, in one confined process."""
    attempts = [*UNREACHABLE, "threading.Thread(target=print).start()"]
    attempts += [f"(libc.{call}(0, 0, 0, 0, 0, 0), ctypes.get_errno())" for call in CALLS]
    lines = "".join(f"attempt(lambda: {each})\n" for each in attempts)
    result = ran(f"confinement.confine(MediaLimits())\n{lines}")
    assert result.returncode == 0, result.stderr
    answers = result.stdout.splitlines()
    assert len(answers) == len(attempts), result
    return answers


@pytest.mark.parametrize("number", range(len(UNREACHABLE)), ids=UNREACHABLE)
def test_the_world_is_out_of_reach(answers: list[str], number: int) -> None:
    assert answers[number] == "PermissionError"


def test_no_thread_can_be_started(answers: list[str]) -> None:
    assert answers[len(UNREACHABLE)] == "RuntimeError"


@pytest.mark.parametrize("number", range(len(CALLS)), ids=CALLS)
def test_other_processes_and_namespaces_are_out_of_reach(answers: list[str], number: int) -> None:
    assert answers[len(UNREACHABLE) + 1 :][number] == "done (-1, 1)"


def test_decoding_works_in_confinement() -> None:
    assert probed("os.read(read_only, 0)") == "done b''"
    assert probed("os.write(scratch, b'opus')") == "done 4"
    assert probed("os.lseek(scratch, 5, os.SEEK_SET)") == "done 5"
    assert probed("pair[0].send(b'answer')") == "done 6"
    assert probed("len(bytearray(64 * MIB))") == "done 67108864"
    assert probed("time.sleep(0.01)") == "done None"


def test_memory_is_bounded() -> None:
    assert probed("bytearray(600 * MIB)", "memory_bytes=512 * MIB") == "MemoryError"
    assert probed("bytearray(100 * MIB) and 'enough'", "memory_bytes=512 * MIB") == "done enough"


def test_a_file_cannot_grow_without_bound() -> None:
    assert probed("os.write(scratch, bytes(2 * MIB))", "output_bytes=MIB") == "done 1048576"
    assert probed("os.pwrite(scratch, b'x', MIB)", "output_bytes=MIB") == "PermissionError"
    assert probed("(os.lseek(scratch, MIB, 0), os.write(scratch, b'x'))", "output_bytes=MIB") == (
        "OSError"
    )


def test_processor_time_is_bounded() -> None:
    result = ran("""
        confinement.confine(MediaLimits())
        start_cpu_budget(0.2)
        while True:
            pass
    """)
    assert result.returncode == -signal.SIGPROF


def test_a_budget_is_for_one_job_and_can_be_lifted() -> None:
    result = ran("""
        confinement.confine(MediaLimits())
        for _ in range(3):
            start_cpu_budget(0.3)
            end = time.process_time() + 0.15
            while time.process_time() < end:
                pass
        start_cpu_budget(0)
        end = time.process_time() + 0.4
        while time.process_time() < end:
            pass
        print("alive")
    """)
    assert result.stdout == "alive\n", result


@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code")
def test_a_call_by_the_32_bit_door_kills() -> None:
    # mov eax, 20 (getpid); int 0x80; ret
    result = ran(r"""
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
        call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        confinement.confine(MediaLimits())
        print(call())
    """)
    assert (result.returncode, result.stdout) in ((-signal.SIGSYS, ""), (-signal.SIGSEGV, ""))


def test_no_core_is_dumped_and_nothing_can_be_traced() -> None:
    result = ran("""
        confinement._prctl, kept = lambda *_: None, confinement._prctl
        confinement.seccomp.install = lambda _: None
        kept(4, 0)
        confinement.confine(MediaLimits())
        print(resource.getrlimit(resource.RLIMIT_CORE), libc.prctl(3), sep="\\n")
    """)
    assert result.stdout == "(0, 0)\n0\n", result.stderr


def test_without_seccomp_there_is_no_network_and_no_file() -> None:
    result = ran("""
        from consumers.audio import child
        from consumers.audio.media import OpusSettings
        from consumers.audio.transcode import TranscodeOptions
        def missing(_):
            raise OSError(38, "no seccomp here")
        confinement.seccomp.install = missing
        job = TranscodeOptions("wav", OpusSettings(), MediaLimits(), -60.0)
        os.write(scratch, child._known_sound())
        child._try_out(scratch, output := os.memfd_create("opus"), job)
        for end in pair:
            end.close()
        try:
            print(confinement.confine(MediaLimits()))
        except OSError as exc:
            print(exc)
            sys.exit(3)
        print([name for _, name in socket.if_nameindex()])
        attempt(lambda: socket.create_connection((b"127.0.0.1", 9), timeout=5))
        attempt(lambda: open("/etc/hostname"))
        attempt(lambda: open("dropped", "w"))
        attempt(lambda: [os.dup(0) for _ in range(8)])
        attempt(lambda: child._try_out(scratch, output, job))
    """)
    if result.returncode == 3:
        assert "decoding cannot be confined here" in result.stdout
        pytest.skip("no namespaces for this user: refused, as it should be")
    outcomes = result.stdout.splitlines()
    assert outcomes == [
        "namespace",
        "['lo']",
        "OSError",
        *["FileNotFoundError"] * 2,
        "OSError",
        "done None",
    ], result.stderr


def test_with_neither_nothing_is_decoded() -> None:
    result = ran("""
        def missing(*_):
            raise OSError(38, "not here")
        confinement.seccomp.install = confinement.enter_empty_world = missing
        confinement.confine(MediaLimits())
    """)
    assert result.returncode == 1
    assert "decoding cannot be confined here: [Errno 38] not here" in result.stderr


def test_a_child_without_its_parent_does_not_begin() -> None:
    result = ran("confinement.die_with_parent(os.getppid() + 1)")
    assert "ProcessLookupError" in result.stderr


@pytest.mark.parametrize("architecture", [seccomp.X86_64, seccomp.AARCH64])
def test_every_allowed_call_has_a_number_on_every_architecture(
    architecture: seccomp.Architecture,
) -> None:
    assert set(confinement.ALLOWED_CALLS) == set(architecture.calls)
    assert len(set(architecture.calls.values())) == len(architecture.calls)
