"""A seccomp filter that allows a process only the given system calls.

Constants are from linux/seccomp.h, linux/filter.h and linux/audit.h; the numbers of the calls
from asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_SET_MODE_FILTER = 1
_ALL_THREADS = 1  # SECCOMP_FILTER_FLAG_TSYNC
_KILL_PROCESS = 0x8000_0000
_REFUSE = 0x0005_0000 | errno.EPERM
_ALLOW = 0x7FFF_0000

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_CALL_OFFSET = 0  # of nr and arch in struct seccomp_data
_ARCH_OFFSET = 4


@dataclass(frozen=True, slots=True)
class Architecture:
    """One kernel ABI."""

    audit: int
    """The kernel's code for it in ``seccomp_data.arch``."""
    seccomp: int
    """The number of seccomp(2)."""
    calls: Mapping[str, int]


X86_64 = Architecture(
    audit=0xC000_003E,
    seccomp=317,
    calls={
        "read": 0,
        "write": 1,
        "close": 3,
        "fstat": 5,
        "lseek": 8,
        "mmap": 9,
        "mprotect": 10,
        "munmap": 11,
        "brk": 12,
        "rt_sigaction": 13,
        "rt_sigprocmask": 14,
        "rt_sigreturn": 15,
        "sched_yield": 24,
        "mremap": 25,
        "madvise": 28,
        "nanosleep": 35,
        "setitimer": 38,
        "getpid": 39,
        "sendto": 44,
        "recvfrom": 45,
        "sendmsg": 46,
        "recvmsg": 47,
        "exit": 60,
        "gettimeofday": 96,
        "getrusage": 98,
        "sigaltstack": 131,
        "gettid": 186,
        "futex": 202,
        "restart_syscall": 219,
        "clock_gettime": 228,
        "clock_nanosleep": 230,
        "exit_group": 231,
        "getrandom": 318,
    },
)
AARCH64 = Architecture(
    audit=0xC000_00B7,
    seccomp=277,
    calls={
        "close": 57,
        "lseek": 62,
        "read": 63,
        "write": 64,
        "fstat": 80,
        "exit": 93,
        "exit_group": 94,
        "futex": 98,
        "nanosleep": 101,
        "setitimer": 103,
        "clock_gettime": 113,
        "clock_nanosleep": 115,
        "sched_yield": 124,
        "restart_syscall": 128,
        "sigaltstack": 132,
        "rt_sigaction": 134,
        "rt_sigprocmask": 135,
        "rt_sigreturn": 139,
        "getrusage": 165,
        "gettimeofday": 169,
        "getpid": 172,
        "gettid": 178,
        "sendto": 206,
        "recvfrom": 207,
        "sendmsg": 211,
        "recvmsg": 212,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "mmap": 222,
        "mprotect": 226,
        "madvise": 233,
        "getrandom": 278,
    },
)
_ARCHITECTURES = {"x86_64": X86_64, "aarch64": AARCH64}


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(allowed: Collection[str]) -> None:
    """Allow all threads of this process only these system calls (names above), for good.

    A refused call fails with EPERM; a call through another ABI, such as a 32-bit one, kills
    the process. ``PR_SET_NO_NEW_PRIVS`` must be set.

    Raises:
        OSError: The kernel or the container has no seccomp filters.
    """
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise OSError(errno.ENOSYS, f"no seccomp filter for {platform.machine()}")
    instructions = assemble(architecture, [architecture.calls[name] for name in allowed])
    program = _Program(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(architecture.seccomp, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program)):
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {os.strerror(code)}")


def assemble(architecture: Architecture, numbers: Collection[int]) -> bytes:
    """Assemble the filter, at 8 bytes (struct sock_filter) per instruction."""
    count = len(numbers)
    program = [
        _instruction(_LOAD_WORD, _ARCH_OFFSET),
        _instruction(_JUMP_IF_EQUAL, architecture.audit, otherwise=count + 3),
        _instruction(_LOAD_WORD, _CALL_OFFSET),
    ]
    program += [
        _instruction(_JUMP_IF_EQUAL, number, then=count - index)
        for index, number in enumerate(sorted(numbers))
    ]
    program += [_instruction(_RETURN, verdict) for verdict in (_REFUSE, _ALLOW, _KILL_PROCESS)]
    return b"".join(program)


def _instruction(code: int, operand: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, operand)
