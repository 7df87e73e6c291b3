"""What this machine has, and how much of it is in use. Nothing here raises: what cannot be told is None."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import msgspec


class MachineView(msgspec.Struct, frozen=True, kw_only=True):
    """Cores, load (how many processes want to run, over the last minute), memory, and the disk the hub's data is on."""

    cores: int
    load: float | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None  # what programs can still get, caches given up
    disk_bytes: int | None = None
    disk_free_bytes: int | None = None


def look(data: Path) -> MachineView:
    """This machine now."""
    load = total = free = None
    with contextlib.suppress(OSError, AttributeError):
        load = round(os.getloadavg()[0], 2)
    memory = _memory()
    disk = None
    with contextlib.suppress(OSError):
        disk = shutil.disk_usage(data)
        total, free = disk.total, disk.free
    return MachineView(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=load,
        memory_bytes=memory.get("MemTotal"),
        memory_free_bytes=memory.get("MemAvailable"),
        disk_bytes=total,
        disk_free_bytes=free,
    )


def _memory() -> dict[str, int]:
    """/proc/meminfo in bytes; elsewhere than on Linux nothing."""
    found = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(rest.split()[0]) * 1024
    return found
