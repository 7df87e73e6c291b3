"""The operating system's processes, as a job's runner and the agent need them: who is below whom, and what they take.

Linux tells it under /proc. Elsewhere the lists are empty, and a job is bounded by its process group and rlimits alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_LIBC = ctypes.CDLL(None)


def start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat: with the boot id, it tells a process from a later one with the same number."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return 0


def boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def children(pid: int) -> list[int]:
    """The living children of all threads of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  (called ten times a second)
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:  # noqa: PTH123
                found += map(int, file.read().split())
    return found


def descendants(pid: int) -> list[int]:
    """Everything below a process, nearest first."""
    found = children(pid)
    for each in found:
        found += children(each)
    return found


def groups(pids: list[int]) -> set[int]:
    """The process groups they belong to, never our own."""
    found = set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            found.add(os.getpgid(pid))
    return found - {os.getpgrp()}


def memory(pids: list[int]) -> int:
    """Bytes of their own, plus the largest shared segment once (each of them counts it)."""
    own, shared = 0, 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("RssAnon:"):
                    own += int(line.split()[1])
                elif line.startswith("RssShmem:"):
                    shared = max(shared, int(line.split()[1]))
    return (own + shared) * 1024


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def prctl(option: int, value: int) -> None:
    """Linux's process control; elsewhere there is nothing to say."""
    if LINUX:
        _LIBC.prctl(option, value, 0, 0, 0)


def disk(folders: list[Path], enough: int) -> int:
    """Bytes allocated under folders, counted until there is no doubt that it is too much."""
    total, waiting = 0, [str(folder) for folder in folders]
    while waiting and total <= enough:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total


def processes_of_this_user() -> int:
    """How many there are now, for limits the kernel counts per user."""
    return sum(1 for each in Path("/proc").glob("[0-9]*") if _is_ours(each)) if LINUX else 1000


def _is_ours(process: Path) -> bool:
    try:
        return process.stat().st_uid == os.getuid()
    except OSError:
        return False
