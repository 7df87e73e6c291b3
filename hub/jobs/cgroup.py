"""A delegated cgroup v2, where the operator gave us one: the kernel bounds a job by itself."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def delegated() -> str | None:
    """Where we may make limited groups: our own or its parent, when both controllers were handed to us there.

    Root may write everywhere, which says nothing about what was handed over.
    """
    if os.getuid() == 0:
        return None
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = Path("/sys/fs/cgroup") / next(line for line in lines if line.startswith("0::"))[3:].lstrip("/")
        for group in (own, own.parent):
            handed = (group / "cgroup.subtree_control").read_text().split()
            if {"memory", "pids"} <= set(handed) and os.access(group / "cgroup.procs", os.W_OK):
                return str(group)
    return None


class Cgroup:
    """A child group with hard limits; the kernel does the bounding, we read what it did."""

    def __init__(self, parent: str, name: str, limits: dict[str, int]) -> None:
        self.path = Path(parent) / name
        self.path.mkdir(exist_ok=True)
        for file, value in (("memory.max", limits.get("memory_bytes")), ("pids.max", limits.get("processes"))):
            if value:
                (self.path / file).write_text(str(value))
        with contextlib.suppress(OSError):
            (self.path / "memory.swap.max").write_text("0")

    def enter(self) -> None:
        (self.path / "cgroup.procs").write_text("0")

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def verdict(self) -> str | None:
        for file, key, reason in (("memory.events", "oom_kill", "memory"), ("pids.events", "max", "processes")):
            with contextlib.suppress(OSError, ValueError):
                counts = dict(line.split() for line in (self.path / file).read_text().splitlines())
                if int(counts.get(key, 0)):
                    return reason
        return None

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.rmdir()
