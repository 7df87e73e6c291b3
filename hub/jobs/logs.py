"""The logs of jobs: one file each, byte for byte, addressed by offset, read by many while it grows.

The file is the truth about its size; SQL only says when it is complete. Appending names the offset, so that bytes
reported twice lie in the same place.
"""

from __future__ import annotations

import os
from pathlib import Path

PAGE_BYTES = 1 << 20


class LogStore:
    """The folder of the logs."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, job: str) -> int:
        try:  # asked of every job at every turn of an agent, where a `Path` costs more than the look
            return os.stat(f"{self._root}/{job[-2:]}/{job}.log").st_size  # noqa: PTH116
        except FileNotFoundError:
            return 0

    def append(self, job: str, offset: int, piece: bytes) -> int:
        """Write the piece at its offset and return the size; a piece that would leave a hole is not written."""
        path = self._path(job)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if offset <= os.fstat(descriptor).st_size:
                view = memoryview(piece)
                while view:
                    written = os.pwrite(descriptor, view, offset)
                    offset, view = offset + written, view[written:]
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def read(self, job: str, offset: int, limit: int = PAGE_BYTES) -> bytes:
        """At most `limit` bytes from `offset`; empty at the end."""
        try:
            descriptor = os.open(self._path(job), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, max(0, min(limit, PAGE_BYTES)), offset)
        finally:
            os.close(descriptor)

    def tail(self, job: str, limit: int) -> bytes:
        return self.read(job, max(0, self.size(job) - limit), limit)

    def _path(self, job: str) -> Path:
        # Two levels keep a folder small; the last characters of an id are random.
        return self._root / job[-2:] / f"{job}.log"


def store(data: Path) -> LogStore:
    """The logs under a hub's data folder."""
    return LogStore(data.absolute() / "logs")
