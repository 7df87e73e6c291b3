"""A delegated cgroup v2, where the operator gave us one: the kernel bounds a job by itself."""

from __future__ import annotations

import contextlib
from pathlib import Path


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
