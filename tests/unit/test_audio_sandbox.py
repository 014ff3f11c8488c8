"""What a decoder that was taken over by its media finds in the very process that decodes.

A real parent with secrets starts a real child as always. Its decoder is replaced by
one that runs its media as a program, after the child has confined itself.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from consumers.audio import confinement, process, seccomp
from consumers.audio.media import MediaLimits, OpusSettings
from consumers.audio.process import TranscoderProcess
from consumers.errors import BadAudioError, TransientError

LIMITS = MediaLimits()
SECRET = "hunter2-of-the-parent"

#: Python imports it before anything else. What it imports itself can't be imported later.
TAKEN_OVER = """
import ctypes, json, os, resource, signal, socket, subprocess, threading, time
from consumers.audio import seccomp, transcode

real, install = transcode.transcode, seccomp.install
libc = ctypes.CDLL(None, use_errno=True)

def taken_over(source, output, job, progress):
    os.lseek(source, 0, os.SEEK_SET)
    media = b""
    while chunk := os.read(source, 65536):
        media += chunk
    if media.startswith(b"RIFF"):
        os.lseek(source, 0, os.SEEK_SET)
        return real(source, output, job, progress)
    exec(media, {**globals(), **locals()})

def tell(output, answers):
    os.write(output, json.dumps(answers).encode())
    raise transcode.BadAudioError("told")

def attempt(probe):
    try:
        return f"done: {probe()!r}"
    except BaseException as exc:
        return type(exc).__name__

def is_open(descriptor):
    try:
        os.lseek(descriptor, 0, os.SEEK_CUR)
    except OSError as exc:
        return exc.errno != 9
    return True

transcode.transcode = taken_over
"""

#: Decoding is held by less, where the kernel has no filters.
WITHOUT_SECCOMP = """
def missing(allowed):
    raise OSError(38, "no seccomp here")

seccomp.install = missing
"""


@pytest.fixture
def child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[TranscoderProcess]:
    """A child that is ready, whose media are programs; its limits are the test's parameter."""
    with closing(_child(tmp_path, monkeypatch, getattr(request, "param", LIMITS))) as child:
        yield child


def _child(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limits: MediaLimits, more: str = ""
) -> TranscoderProcess:
    (folder / "sitecustomize.py").write_text(TAKEN_OVER + more)
    given = process._environment()
    path = f"{folder}:{given['PYTHONPATH']}"
    monkeypatch.setattr(process, "_environment", lambda: {**given, "PYTHONPATH": path})
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return TranscoderProcess(OpusSettings(), limits, -60.0)


def run(child: TranscoderProcess, program: str) -> tuple[str, bytes]:
    """Have the child run a program; gives what the parent makes of it, and what was written."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(textwrap.dedent(program).encode())
        with pytest.raises(BadAudioError) as caught:
            child.transcode(source, "wav", output)
        output.seek(0)
        return str(caught.value), output.read()


def asked(child: TranscoderProcess, probes: dict[str, str]) -> dict[str, str]:
    """What becomes of each expression in the child."""
    lines = [f"    {name!r}: attempt(lambda: {probe}),\n" for name, probe in probes.items()]
    _, answers = run(child, "tell(output, {\n" + "".join(lines) + "})")
    found: dict[str, str] = json.loads(answers)
    return found


def test_the_world_is_out_of_reach(child: TranscoderProcess, tmp_path: Path) -> None:
    parent, file = os.getpid(), str(tmp_path / "sitecustomize.py")
    answers = asked(
        child,
        {
            "socket": "socket.socket()",
            "unix socket": "socket.socket(socket.AF_UNIX)",
            "socket pair": "socket.socketpair()",
            "look up a name": "socket.getaddrinfo(b'localhost', 80)",
            "own environment": "open('/proc/self/environ')",
            "parent's environment": f"open('/proc/{parent}/environ')",
            "parent's memory": f"open('/proc/{parent}/mem', 'rb')",
            "parent's files": f"open('/proc/{parent}/fd/0')",
            "credentials": "open('/root/.aws/credentials')",
            "a file to read": f"open({file!r})",
            "a file to write": f"open({file!r}, 'a')",
            "a new file": f"open({file + '.new'!r}, 'w')",
            "a folder": "os.listdir('/')",
            "whether a file is there": f"os.stat({file!r})",
            "delete": f"os.unlink({file!r})",
            "another program": "os.execv('/bin/true', ['true'])",
            "a program beside": "subprocess.run(['/bin/true'])",
            "fork": "os.fork()",
            "kill the parent": f"os.kill({parent}, 9)",
        },
    )
    assert set(answers.values()) <= {"PermissionError", "gaierror"}, answers


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls")
def test_no_other_system_call_is_let_through(child: TranscoderProcess) -> None:
    # Among them ptrace, process_vm_readv, pidfd_getfd, clone3, openat2, io_uring_setup; and
    # all of them again by their numbers of the x32 ABI.
    allowed = [seccomp.X86_64.calls[name] for name in confinement.ALLOWED_CALLS]
    # uretprobe and uprobe are shown to no filter; Linux ends whoever calls them by himself.
    allowed += [335, 336]
    answer, told = run(
        child,
        f"""
        let_through = []
        for number in range(600):
            for offset in (0, 0x4000_0000):
                if offset == 0 and number in {allowed}:
                    continue
                ctypes.set_errno(0)
                if libc.syscall(number + offset, -1, 0, 0, 0, 0, 0) != -1:
                    let_through.append(number + offset)
                elif ctypes.get_errno() != 1:
                    let_through.append(number + offset)
        tell(output, let_through)
        """,
    )
    assert answer == "told"
    assert json.loads(told) == []


def test_the_parents_secrets_are_not_inherited(child: TranscoderProcess) -> None:
    answers = asked(
        child, {"environment": "sorted(os.environ)", "arguments": "__import__('sys').argv"}
    )
    assert SECRET not in str(answers)
    names = set(json.loads(answers["environment"].removeprefix("done: ").replace("'", '"')))
    assert names <= {
        "PATH",
        "LANG",
        "LC_CTYPE",
        "PYTHONPATH",
        "OPENBLAS_NUM_THREADS",
        "LD_LIBRARY_PATH",
    }


def test_the_parents_files_are_not_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "open in the parent").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        with closing(_child(tmp_path, monkeypatch, LIMITS)) as child:
            answers = asked(
                child,
                {
                    "open": "[n for n in range(1024) if is_open(n)]",
                    "ours": "sorted([0, 1, 2, progress._channel._end.fileno(), source, output])",
                    "write the source": "os.write(source, b'x')",
                    "read the output": "os.read(output, 1)",
                },
            )
    # The three standard ones, the channel, and the job's two.
    assert answers.pop("open") == answers.pop("ours")
    assert set(answers.values()) == {"OSError"}


@pytest.mark.parametrize(
    ("child", "program", "fate"),
    [
        (replace(LIMITS, memory_bytes=512 << 20), "bytearray(600 << 20)", "512 MiB of memory"),
        (replace(LIMITS, cpu_seconds=0.3), "while True: pass", "0.3 s of processor time"),
        (
            replace(LIMITS, cpu_seconds=0.3, wall_seconds=1.5),
            """
            # It may take back what it can: its time on the clock is in the parent's hands.
            signal.setitimer(signal.ITIMER_PROF, 0)
            while True: progress(1.0)
            """,
            "more than 1.5 s to decode",
        ),
        (
            replace(LIMITS, cpu_seconds=0.3, stall_seconds=1.5),
            """
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
            while True: pass
            """,
            "hung: no progress for 1.5 s",
        ),
        (LIMITS, "os._exit(3)", "crashed (exit status 3)"),
        (LIMITS, "ctypes.string_at(0)", "crashed (signal 11)"),
        (
            LIMITS,
            "progress._channel._end.send(b'nonsense'); time.sleep(9)",
            "invalid answer",
        ),
    ],
    indirect=["child"],
)
def test_the_limits_hold(child: TranscoderProcess, program: str, fate: str) -> None:
    answer, _ = run(child, program)
    assert fate in answer


@pytest.mark.parametrize("child", [replace(LIMITS, output_bytes=1 << 20)], indirect=True)
def test_the_output_file_stays_below_its_limit(child: TranscoderProcess) -> None:
    answer, written = run(
        child,
        """
        sizes = [os.write(output, bytes(3 << 19)) for _ in range(1)]
        raise transcode.BadAudioError(attempt(lambda: os.write(output, b"x")))
        """,
    )
    assert (answer, len(written)) == ("OSError", 1 << 20)


def test_without_seccomp_the_world_is_out_of_reach_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        child = _child(tmp_path, monkeypatch, LIMITS, WITHOUT_SECCOMP)
    except TransientError as exc:
        # To a user who may make no namespaces it is refused, rather than done unconfined.
        if "decoding cannot be confined here" not in str(exc):
            raise
        return
    parent, file = os.getpid(), str(tmp_path / "sitecustomize.py")
    with closing(child):
        answers = asked(
            child,
            {
                "parent's environment": f"open('/proc/{parent}/environ')",
                "parent's memory": f"open('/proc/{parent}/mem', 'rb')",
                "a connection": "socket.create_connection((b'127.0.0.1', 9), timeout=5)",
                "a file to read": f"open({file!r})",
                "a new file": "open('/new', 'w')",
                "a new file beside": "open('new', 'w')",
                "another program": "os.execv('/bin/true', ['true'])",
                "out of its root": "os.chroot('.')",
            },
        )
        refused = asked(
            child,
            {
                "another process": f"(libc.ptrace(16, {parent}, 0, 0), ctypes.get_errno())",
                "another namespace": "(libc.unshare(0x1000_0000), ctypes.get_errno())",
            },
        )
    assert set(answers.values()) <= {"FileNotFoundError", "PermissionError", "OSError"}, answers
    assert set(refused.values()) == {"done: (-1, 1)"}
