"""Confines this process to what decoding needs, before it reads untrusted media.

It stays ours because pyseccomp needs the system's libseccomp, and bubblewrap an installed
program and user namespaces, which hosts and containers may lack.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import tempfile
from pathlib import Path
from typing import Literal

from consumers.audio import seccomp
from consumers.audio.media import MediaLimits

Confinement = Literal["seccomp", "namespace"]

# Reading, writing and seeking in open files, memory, time, and the answers on the socket.
# None opens a file, creates a socket, a process or a thread, or sends a signal. Without
# sched_getaffinity FFmpeg sees one processor, so its filters start no threads.
ALLOWED_CALLS = (
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "exit",
    "exit_group",
    "fstat",
    "futex",
    "getpid",
    "getrandom",
    "getrusage",
    "gettid",
    "gettimeofday",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "read",
    "recvfrom",
    "recvmsg",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sendmsg",
    "sendto",
    "setitimer",
    "sigaltstack",
    "write",
)

# The three standard ones, the channel, a job's two, and two to spare.
_OPEN_FILES = 8

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x1000_0000  # linux/sched.h
_CLONE_NEWNET = 0x4000_0000
_CAPABILITY_VERSION_3 = 0x2008_0522  # linux/capability.h


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when the thread that started it ends, however it ends.

    Raises:
        ProcessLookupError: The parent with that process id has already ended.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent ended before its child began")


def confine(limits: MediaLimits) -> Confinement:
    """Confine this process for good: no network, no programs, no new files, bounded memory.

    Where seccomp filters are unavailable, an empty network namespace and an empty root keep
    the network, files and other processes out of reach.

    Returns:
        The means in use.

    Raises:
        OSError: Neither is available; untrusted media must not be decoded here.
    """
    _be_first_to_go()
    _set_limits(limits)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    try:
        seccomp.install(ALLOWED_CALLS)
    except OSError as exc:
        try:
            enter_empty_world()
        except OSError as unshared:
            message = f"decoding cannot be confined here: {exc}; {unshared}"
            raise OSError(unshared.errno, message) from exc
        return "namespace"
    return "seccomp"


def enter_empty_world() -> None:
    """Move this process into an empty network namespace and root, and drop capabilities.

    Raises:
        OSError: The kernel grants this user no such namespace.
    """
    try:
        _call("unshare", _CLONE_NEWNET)
    except PermissionError:
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
    # A deleted folder is empty, and nothing can be created in it.
    root = tempfile.mkdtemp()
    os.chdir(root)
    Path(root).rmdir()
    os.chroot(".")
    # On more processors FFmpeg's filters would start threads, which RLIMIT_NPROC refuses.
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[os.getpid() % len(processors)]})
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _call("capset", header, struct.pack("=6I", 0, 0, 0, 0, 0, 0))


def start_cpu_budget(seconds: float) -> None:
    """End this process by SIGPROF after so many seconds of processor time; zero lifts the limit.

    RLIMIT_CPU would count from the process's start, and one process serves many files.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _be_first_to_go() -> None:
    """Have the kernel kill this process first when memory runs out: that costs one recording."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _set_limits(limits: MediaLimits) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.output_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (ceiling, ceiling))


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)


def _call(function: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")
