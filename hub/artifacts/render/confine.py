"""How a process locks itself in, for good: resource limits, Landlock, seccomp.

Called after everything needed was imported and before one byte of a stranger's file is read. Landlock takes away
every path and TCP port; seccomp leaves a short list of system calls that can compute, read what is open and answer.
Numbers and structures: linux/landlock.h, linux/seccomp.h, linux/filter.h and the system call tables of both machines.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct
import sys

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same on every machine
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_LOAD_WORD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 1  # the last one answers EPERM
_X32_CALLS = 0x40000000

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# read write close fstat lseek mmap mprotect munmap brk mremap madvise, pread64 readv writev, rt_sigaction
# rt_sigprocmask rt_sigreturn sigaltstack, ioctl fcntl poll, getpid gettid sysinfo getrusage sched_yield
# sched_getaffinity futex membarrier rseq restart_syscall getrandom, clock_gettime clock_getres gettimeofday, exit
# exit_group: in this order, by machine.
_CALLS: dict[str, tuple[int, ...]] = {
    "x86_64": (
        *(0, 1, 3, 5, 8, 9, 10, 11, 12, 25, 28, 17, 19, 20, 13),
        *(14, 15, 131, 16, 72, 7, 39, 186, 99, 98, 24),
        *(204, 202, 324, 334, 219, 318, 228, 229, 96, 60),
        231,
    ),
    "aarch64": (
        *(63, 64, 57, 80, 62, 222, 226, 215, 214, 216, 233, 67, 65, 66, 134),
        *(135, 139, 132, 29, 25, 73, 172, 178, 179, 165, 124),
        *(123, 98, 283, 293, 128, 278, 113, 114, 169, 93),
        94,
    ),
}


def limit(memory_bytes: int, cpu_seconds: int) -> None:
    """Bounds what the process may take; writing files, dumping core and many descriptors are out."""
    wanted = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    if sys.platform == "linux":
        wanted[resource.RLIMIT_AS] = memory_bytes
    for kind, most in wanted.items():
        resource.setrlimit(kind, (most, most))


def lock() -> list[str]:
    """Takes away files, network and all system calls not needed; returns the names of the layers that hold now."""
    if sys.platform != "linux":
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return []
    layers = []
    if _landlock(libc):
        layers.append("landlock")
    if _seccomp(libc):
        layers.append("seccomp")
    return layers


def _landlock(libc: ctypes.CDLL) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    files = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    rights = struct.pack("=Q", (1 << files) - 1)
    if version >= 4:
        rights += struct.pack("=Q", 0b11)  # binding and connecting TCP sockets
    if version >= 6:
        rights += struct.pack("=Q", 0b11)  # abstract Unix sockets and signals to the outside
    ruleset = libc.syscall(_CREATE_RULESET, rights, ctypes.c_size_t(len(rights)), ctypes.c_uint32(0))
    # No rule is ever added, so everything that the ruleset handles is refused.
    return bool(ruleset >= 0 and libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) == 0)


def _seccomp(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in _CALLS or sys.maxsize < 1 << 32:
        return False
    program = filter_program(machine)
    instructions = ctypes.create_string_buffer(program, len(program))
    description = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(instructions))
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, description, 0, 0) == 0)


def filter_program(machine: str) -> bytes:
    """The allow-list as classic BPF: 8 bytes an instruction, jumps counted from the next one."""
    calls = _CALLS[machine]
    lines = [
        (_LOAD_WORD, 0, 0, 4),  # the architecture
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURE[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, 0),  # the number of the call
        (_JUMP_AT_LEAST, len(calls), 0, _X32_CALLS),
    ]
    lines += [(_JUMP_EQUAL, len(calls) - at, 0, call) for at, call in enumerate(calls)]
    lines += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
